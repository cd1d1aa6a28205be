"""What the policy of a page lets it do. The digests are OpenSSL's."""

import pytest

from gateway.page_policy import content_policy


def allowed(page: str) -> dict[str, list[str]]:
    directives = [directive.split() for directive in content_policy(page).split(";")]
    return {name: sources for name, *sources in directives}


def test_scripts_and_style_sheets_are_allowed_by_their_whole_addresses() -> None:
    page = """
        <link rel="icon" href="data:,"><link rel="stylesheet" href="https://a.example/1.css">
        <script crossorigin src="https://a.example/1.js"></script><script src="https://a.example/2.js"></script>
    """
    policy = allowed(page)
    assert policy["script-src"] == ["https://a.example/1.js", "https://a.example/2.js"]
    assert policy["style-src"] == ["https://a.example/1.css", "'unsafe-inline'"]


@pytest.mark.parametrize(
    ("script", "digest"),
    [
        ("alert(1)", "bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI="),
        ('if (a < b && c > d) {\n  "&amp;</b>";\n}', "RqUYbCZVkAMORM3KXQH/ZzXg/O7dhyvh62RY/jLtiCQ="),
    ],
)
def test_a_script_in_place_is_allowed_by_its_digest(script: str, digest: str) -> None:
    assert allowed(f"<p>text</p><script>{script}</script>")["script-src"] == [f"'sha256-{digest}'"]


def test_a_page_without_scripts_may_run_none_and_no_page_may_do_more() -> None:
    policy = allowed("<p>text</p>")
    assert policy["script-src"] == policy["default-src"] == policy["frame-ancestors"] == ["'none'"]
    assert policy["connect-src"] == ["'self'"]
