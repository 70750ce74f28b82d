"""As much of android.jar as samples/android-chat uses: the whole is in no registry of packages.

Signatures of https://developer.android.com/reference, without bodies that matter; and those of
Java 8 as every JDK has them.
"""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

CLASSES = {
    "android.os.Bundle": "class Bundle {}",
    "android.os.Looper": """final class Looper {
        public static Looper getMainLooper() { return null; } }""",
    "android.os.Handler": """class Handler {
        public Handler(Looper looper) {}
        public final boolean post(Runnable work) { return true; } }""",
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
        public void setFitsSystemWindows(boolean fits) {}
        public boolean getFitsSystemWindows() { return true; }
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


def java_8() -> dict[str, bytes]:
    """Return Java 8's own classes, without code, as `javac --release 8` reads them."""
    compiler = shutil.which("javac")
    assert compiler, "`javac` is not installed: apt-get install default-jdk-headless"
    found = {}
    with zipfile.ZipFile(Path(compiler).resolve().parents[1] / "lib/ct.sym") as archive:
        for name in archive.namelist():
            releases, _, rest = name.partition("/")
            if "8" in releases and name.endswith(".sig"):
                _, _, place = rest.partition("/")  # behind the module
                found[place.removesuffix(".sig") + ".class"] = archive.read(name)
    return found


def build_android_api(folder: Path) -> Path:
    """Compile the classes; return what stands for android.jar."""
    files = []
    for name, body in CLASSES.items():
        path = folder / "java" / f"{name.replace('.', '/')}.java"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"package {name.rpartition('.')[0]};\npublic {body}\n", encoding="utf-8")
        files.append(str(path))
    output = folder / "android"
    subprocess.run(["javac", "--release", "8", "-Xlint:-options", "-d", str(output), *files],
                   check=True)  # fmt: skip
    members = java_8() | {
        path.relative_to(output).as_posix(): path.read_bytes() for path in output.rglob("*.class")
    }
    with zipfile.ZipFile(folder / "android.jar", "w") as archive:
        for name, code in members.items():
            archive.writestr(name, code)
    return folder / "android.jar"
