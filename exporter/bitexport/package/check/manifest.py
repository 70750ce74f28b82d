"""AndroidManifest.xml: text in an AAR, binary XML in an APK.

The binary form (ResXMLTree of Android's ResourceTypes.h) is read by apkInspector; attributes are
known by their resource ids, as Android knows them, since shrinkers take their names out.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

from apkInspector.axml import ManifestStruct, XmlStartElement

from bitexport.package.check.elf import DamagedError

BINARY = b"\3\0"  # RES_XML_TYPE
STRING, BOOLEAN = 0x03, 0x12  # Res_value::dataType
ANDROID = "{http://schemas.android.com/apk/res/android}"
# Android's public.xml; the same in every version.
IDS = {
    0x0101000F: "debuggable",
    0x0101020C: "minSdkVersion",
    0x01010270: "targetSdkVersion",
    0x010104EA: "extractNativeLibs",
}


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a manifest says: by element and attribute of Android's, the first of each."""

    said: Mapping[tuple[str, str], str]

    def says(self, element: str, attribute: str) -> str | None:
        """Return android:<attribute> of the first <element> that has one."""
        return self.said.get((element, attribute))

    def number(self, element: str, attribute: str) -> int | None:
        """Return the same as a number; None where it is none, as a resource or a code name."""
        said = self.says(element, attribute) or ""
        return int(said) if said.isdecimal() else None


def read_manifest(data: bytes) -> Manifest:
    """Read a manifest of either form; raise DamagedError where it cannot be read."""
    try:
        return Manifest(_binary(data) if data.startswith(BINARY) else _text(data))
    except Exception as error:  # the library does not say what it raises for damaged files
        raise DamagedError(f"{type(error).__name__}: {error}") from error


def _text(data: bytes) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for element in ET.fromstring(data).iter():
        for name, value in element.items():
            if name.startswith(ANDROID):
                found.setdefault((element.tag, name.removeprefix(ANDROID)), value)
    return found


def _binary(data: bytes) -> dict[tuple[str, str], str]:
    tree = ManifestStruct.parse(io.BytesIO(data))
    strings, ids = tree.string_pool.string_list, tree.resource_map.resids
    elements = [each for each in tree.elements if isinstance(each, XmlStartElement)]
    if not elements:
        raise DamagedError("it has no element")
    found: dict[tuple[str, str], str] = {}
    for element in elements:
        for each in element.attributes:
            if each.name_index < len(ids) and (name := IDS.get(ids[each.name_index])):
                found.setdefault((strings[element.attrext[1]], name), _value(each, strings))
    return found


def _value(attribute: Any, strings: list[str]) -> str:
    if attribute.typed_value_datatype == BOOLEAN:
        return "true" if attribute.typed_value_data else "false"
    if attribute.typed_value_datatype == STRING:
        return str(strings[attribute.typed_value_data])
    return str(attribute.typed_value_data)
