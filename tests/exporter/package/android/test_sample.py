"""samples/android-chat is compiled against as much of Android's API as it uses."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.exporter.package.android.conftest import SECONDS, Jdk
from tests.exporter.package.android.test_kotlin import COMPILER, COMPILERS_OWN

from bitexport.package.android.library import android_root

# Signatures of https://developer.android.com/reference, without bodies that matter.
ANDROID = {
    "android.os.Bundle": "class Bundle {}",
    "android.content.Context": """abstract class Context {
        public abstract android.content.res.AssetManager getAssets();
        public abstract java.io.File getNoBackupFilesDir(); }""",
    "android.content.res.AssetManager": """final class AssetManager {
        public java.io.InputStream open(String name) throws java.io.IOException {
            return null; } }""",
    "android.app.Activity": """class Activity extends android.content.Context {
        protected void onCreate(android.os.Bundle state) {}
        protected void onDestroy() {}
        public void setContentView(android.view.View view) {}
        public android.content.res.AssetManager getAssets() { return null; }
        public java.io.File getNoBackupFilesDir() { return null; } }""",
    "android.view.View": """class View {
        public interface OnClickListener { void onClick(View view); }
        public void setOnClickListener(OnClickListener listener) {}
        public void setEnabled(boolean enabled) {}
        public boolean isEnabled() { return true; } }""",
    "android.view.ViewGroup": """abstract class ViewGroup extends View {
        public static class LayoutParams { public static final int MATCH_PARENT = -1; }
        public void addView(View child) {}
        public void addView(View child, LayoutParams how) {} }""",
    "android.widget.TextView": """class TextView extends android.view.View {
        public TextView(android.content.Context context) {}
        public CharSequence getText() { return ""; }
        public final void setText(CharSequence text) {}
        public final void setText(int resource) {}
        public CharSequence getHint() { return ""; }
        public final void setHint(int resource) {}
        public final void append(CharSequence text) {} }""",
    "android.widget.EditText": """class EditText extends TextView {
        public EditText(android.content.Context context) { super(context); } }""",
    "android.widget.Button": """class Button extends TextView {
        public Button(android.content.Context context) { super(context); } }""",
    "android.widget.ScrollView": """class ScrollView extends android.view.ViewGroup {
        public ScrollView(android.content.Context context) {} }""",
    "android.widget.LinearLayout": """class LinearLayout extends android.view.ViewGroup {
        public static final int VERTICAL = 1;
        public static class LayoutParams extends android.view.ViewGroup.LayoutParams {
            public LayoutParams(int width, int height, float weight) {} }
        public LinearLayout(android.content.Context context) {}
        public void setOrientation(int orientation) {}
        public int getOrientation() { return 0; } }""",
}


def write_api(folder: Path, sample: Path) -> list[str]:
    """Write the API, and class R as the sample's strings make it; return the files."""
    names = [
        string.attrib["name"]
        for string in ET.parse(sample / "app/src/main/res/values/strings.xml").getroot()
    ]
    fields = "".join(f"public static final int {name} = {i};" for i, name in enumerate(names))
    strings = f"public static final class string {{ {fields} }}"
    classes = ANDROID | {"ai.bitexport.sample.R": f"final class R {{ {strings} }}"}
    files = []
    for name, body in classes.items():
        path = folder / f"{name.replace('.', '/')}.java"
        path.parent.mkdir(parents=True, exist_ok=True)
        package = name.rpartition(".")[0]
        path.write_text(f"package {package};\npublic {body}\n", encoding="utf-8")
        files.append(str(path))
    return files


def test_the_sample_compiles(kotlin: Path, jdk: Jdk, repository: Path, tmp_path: Path) -> None:
    sample = repository / "samples/android-chat"
    api = tmp_path / "api"
    subprocess.run(
        ["javac", "-d", str(api), *write_api(tmp_path / "java", sample)],
        check=True, timeout=SECONDS,
    )  # fmt: skip
    needed = [str(kotlin / f"{name}.jar") for name in COMPILERS_OWN]
    folders = [str(jdk.classes), str(api), *needed]
    sources = sorted((sample / "app/src/main/kotlin").rglob("*.kt"))
    flows = sorted((android_root() / "kotlin").rglob("*.kt"))
    command = ["java", "-cp", ":".join(needed), COMPILER, "-Werror", "-no-stdlib", "-no-reflect"]
    command += ["-cp", ":".join(folders), "-d", str(tmp_path / "out")]
    subprocess.run([*command, *map(str, [*sources, *flows])], check=True, timeout=SECONDS)
    assert (tmp_path / "out/ai/bitexport/sample/ChatActivity.class").is_file()


def test_the_sample_names_what_a_package_holds(repository: Path) -> None:
    script = (repository / "samples/android-chat/app/build.gradle.kts").read_text(encoding="utf-8")
    named = set(re.findall(r'bitexport\.resolve\("([^"]+)"\)', script))
    assert named == {
        "bitexport.aar", "bitexport-sources.jar", "packs/model_arm64/src/main/assets",
    }  # fmt: skip
