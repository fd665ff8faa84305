"""Add pages to the documentation site: one for each module and package of deepscan, and files outside docs/.

MkDocs calls the functions by name; see `hooks` in mkdocs.yml.
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
#: Pictures on pages outside docs/.
PICTURES = ("benchmarks/*.svg", "sample_videos/*.svg")
LINK = re.compile(r"(?P<mark>!?)\[(?P<text>[^\]]*)\]\((?P<link>[^)#\s]*)(?P<anchor>#[^)\s]*)?\)")
REFERENCE = "reference"
SHORT_CODE = re.compile(r"<code>([^<]{1,22})</code>")
#: HTML and CSS that fetch something from another host.
REMOTE = re.compile(
    r"""<(?:script|img|iframe|source|video)\b[^>]*\bsrc=["']?(?:https?:)?//|"""
    r"""<link\b[^>]*\bhref=["']?(?:https?:)?//(?![^>]*rel=["']?canonical)|"""
    r"""(?:@import|url\()\s*["']?(?:https?:)?//"""
)


def public_modules() -> list[str]:
    """Return the name of each module and package directly below `deepscan`."""
    paths = sorted((ROOT / "deepscan").iterdir())
    packages = [path.name for path in paths if (path / "__init__.py").is_file()]
    modules = [path.stem for path in paths if path.suffix == ".py" and not path.stem.startswith("_")]
    return sorted(packages + modules)


def api_page() -> str:
    """Return the page for the names in `deepscan.__all__`, functions first."""
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
    """Add the reference pages to the navigation."""
    pages = [{"deepscan": f"{REFERENCE}/index.md"}]
    pages += [{module: f"{REFERENCE}/{module}.md"} for module in public_modules()]
    config.nav = [*(config.nav or []), {"API reference": pages}]
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the generated pages, the files outside docs/ and their pictures."""
    generated = {f"{REFERENCE}/{module}.md": f"::: deepscan.{module}\n" for module in public_modules()}
    generated[f"{REFERENCE}/index.md"] = api_page()
    for page, text in generated.items():
        files.append(File.generated(config, page, content=text))
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for pattern in PICTURES:
        for picture in sorted(ROOT.glob(pattern)):
            files.append(File.generated(config, str(picture.relative_to(ROOT)), abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Change links between files of the repository into links between pages.

    A link to a file that is not on the site, such as source code, becomes the file's path as text.
    """
    source = {page_of: path for path, page_of in OUTSIDE.items()}.get(
        page.file.src_uri, f"docs/{page.file.src_uri}"
    )

    def target(link: str) -> str | None:
        linked = os.path.normpath(PurePosixPath(source).parent / link)
        uri = OUTSIDE.get(linked, linked.removeprefix("docs/"))
        if files.get_file_from_path(uri) is None:
            return None
        return os.path.relpath(uri, PurePosixPath(page.file.src_uri).parent)

    def replace_link(match: re.Match[str]) -> str:
        text, link, anchor = match["text"], match["link"], match["anchor"] or ""
        if not link or "://" in link or link.startswith("mailto:"):
            return match[0]
        uri = target(link)
        if uri is None:
            return f"{text} (`{os.path.normpath(PurePosixPath(source).parent / link)}`)"
        return f"{match['mark']}[{text}]({uri}{anchor})"

    return LINK.sub(replace_link, markdown)


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Mark short pieces of code, which the style sheet keeps on one line."""
    return SHORT_CODE.sub(r'<code class="short">\1</code>', html)


def on_post_build(*, config: MkDocsConfig) -> None:
    """Check that no page fetches anything from another host.

    Raises:
        PluginError: A page fetches something from another host.
    """
    site = Path(config.site_dir)
    for path in sorted([*site.rglob("*.html"), *site.rglob("*.css")]):
        if match := REMOTE.search(path.read_text(encoding="utf-8")):
            raise PluginError(f"{path} fetches from another host: {match[0]}")
