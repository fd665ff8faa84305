"""Adds pages to the documentation site: one for each room of the package, and those that lie outside docs/.

MkDocs calls the functions by their names; see `hooks` in mkdocs.yml.
"""

import ast
import os
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
#: File of the repository -> the page it becomes.
OUTSIDE = {
    "README.md": "start.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "sample_videos/README.md": "sample_videos.md",
    "examples/README.md": "examples.md",
}
#: Places of the site that pages outside docs/ show pictures from.
PICTURES = ("benchmarks/*.svg", "sample_videos/*.svg")
LINK = re.compile(r"(?P<mark>!?)\[(?P<text>[^\]]*)\]\((?P<link>[^)#\s]*)(?P<anchor>#[^)\s]*)?\)")
REFERENCE = "reference"
SHORT_CODE = re.compile(r"<code>([^<]{1,22})</code>")
#: What a page would fetch from another host.
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video)\b[^>]*\bsrc=["']?(?:https?:)?//|"""
    r"""<link\b[^>]*\bhref=["']?(?:https?:)?//(?![^>]*rel=["']?canonical)|"""
    r"""(?:@import|url\()\s*["']?(?:https?:)?//"""
)


def rooms() -> list[str]:
    """Return the name of each module and package directly below `deepscan`."""
    found = sorted((ROOT / "deepscan").iterdir())
    packages = [path.name for path in found if (path / "__init__.py").is_file()]
    modules = [path.stem for path in found if path.suffix == ".py" and not path.stem.startswith("_")]
    return sorted(packages + modules)


def api_page() -> str:
    """Return the page of the names that `import deepscan` gives, functions first."""
    tree = ast.parse((ROOT / "deepscan" / "__init__.py").read_text(encoding="utf-8"))
    (names,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if node.targets[0].id == "__all__"
    ]
    functions = sorted((name for name in names if name[0].islower()), key=lambda name: (name != "scan", name))
    classes = [name for name in names if name[0].isupper()]
    parts = ["::: deepscan\n    options:\n      members: false\n"]
    parts += [
        f"::: deepscan.{name}\n    options:\n      heading_level: 2\n      show_root_full_path: false\n"
        for name in functions + classes
    ]
    return "\n".join(parts)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the rooms to the navigation."""
    pages = [{"deepscan": f"{REFERENCE}/index.md"}]
    pages += [{room: f"{REFERENCE}/{room}.md"} for room in rooms()]
    config.nav = [*(config.nav or []), {"API reference": pages}]
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are made here, and the pictures that they show."""
    made = {f"{REFERENCE}/{room}.md": f"::: deepscan.{room}\n" for room in rooms()}
    made[f"{REFERENCE}/index.md"] = api_page()
    for page, text in made.items():
        files.append(File.generated(config, page, content=text))
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for pattern in PICTURES:
        for picture in sorted(ROOT.glob(pattern)):
            files.append(File.generated(config, str(picture.relative_to(ROOT)), abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links between files of the repository at the pages that these became.

    A link to a file that the site does not have, such as source code, becomes a mention of its path.
    """
    source = {page_of: path for path, page_of in OUTSIDE.items()}.get(
        page.file.src_uri, f"docs/{page.file.src_uri}"
    )

    def target(link: str) -> str | None:
        there = os.path.normpath(PurePosixPath(source).parent / link)
        place = OUTSIDE.get(there, there.removeprefix("docs/"))
        if files.get_file_from_path(place) is None:
            return None
        return os.path.relpath(place, PurePosixPath(page.file.src_uri).parent)

    def changed(match: re.Match[str]) -> str:
        text, link, anchor = match["text"], match["link"], match["anchor"] or ""
        if not link or "://" in link or link.startswith("mailto:"):
            return match[0]
        found = target(link)
        if found is None:
            return f"{text} (`{os.path.normpath(PurePosixPath(source).parent / link)}`)"
        return f"{match['mark']}[{text}]({found}{anchor})"

    return LINK.sub(changed, markdown)


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Mark short pieces of code, which the style sheet keeps on one line."""
    return SHORT_CODE.sub(r'<code class="short">\1</code>', html)


def on_post_build(*, config: MkDocsConfig) -> None:
    """Check that no page fetches anything from another host.

    Raises:
        PluginError: A page does.
    """
    site = Path(config.site_dir)
    for path in sorted([*site.rglob("*.html"), *site.rglob("*.css")]):
        if found := FETCHED.search(path.read_text(encoding="utf-8")):
            raise PluginError(f"{path} fetches from another host: {found[0]}")
