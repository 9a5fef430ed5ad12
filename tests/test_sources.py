"""What a user names as a source, as files: in a fixed order, from wherever they lie."""

from __future__ import annotations

import gzip
import http.server
from functools import partial
from pathlib import Path

import pytest

from catalogs.sources import resolve
from core.errors import (
    AisleError,
    SourceMissing,
    SourceUnreachable,
)
from tests.reading import SHOP, Read, lines, refused
from tests.s3 import serving
from tests.web import answering


def test_folders_and_globs_are_sorted_and_lists_keep_their_order(write, tmp_path):
    for name in ("in/b.jsonl", "in/a.csv", "in/sub/c.jsonl.gz"):
        content = "sku,title\n1,t\n" if name.endswith("csv") else lines({"sku": name, "title": "t"})
        write(name, content)
    write("in/_SUCCESS", "x")
    write("in/.hidden.jsonl", "x")
    write("in/readme.md", "x")
    write("in/empty.jsonl", "")
    base = tmp_path / "in"

    def found(source):
        return [str(Path(file.name).relative_to(base)) for file in resolve(source, SHOP, tmp_path)]

    assert found(str(base)) == ["a.csv", "b.jsonl", "sub/c.jsonl.gz"]
    (base / "empty.jsonl").unlink()
    assert found(f"{base}/*.jsonl") == ["b.jsonl"]
    assert found(f"{base}/**/*.jsonl*") == ["b.jsonl", "sub/c.jsonl.gz"]
    assert found([f"{base}/b.jsonl", f"{base}/a.csv", f"{base}/b.jsonl"]) == ["b.jsonl", "a.csv"]


def test_what_is_not_there_is_named_with_what_is_near(write, tmp_path):
    write("products.jsonl", lines({"sku": "1", "title": "t"}))
    assert "did you mean products.jsonl" in refused(SourceMissing, tmp_path / "product.jsonl").hint
    assert "no folder" in refused(SourceMissing, tmp_path / "nowhere" / "a.jsonl").hint
    assert "no file matches" in refused(SourceMissing, tmp_path / "*.csv").message
    (tmp_path / "bare").mkdir()
    assert "no file that can be read" in refused(SourceMissing, tmp_path / "bare").message


@pytest.fixture
def web(tmp_path):
    """A real web server over a folder."""
    folder = tmp_path / "web"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            if "secret" in self.path:
                self.send_error(403)
            elif "cut" in self.path:
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"{")
            else:
                super().do_GET()

    with answering(partial(Quiet, directory=str(folder))) as address:
        yield folder, address


def test_an_address_is_streamed_and_read(web, tmp_path, home):
    folder, address = web
    (folder / "p.jsonl.gz").write_bytes(gzip.compress(lines({"sku": "1", "title": "t"}).encode()))
    staging = tmp_path / "staging"
    staging.mkdir()
    source = f"{address}/p.jsonl.gz?token=hush"
    assert Read(source, staging=staging).frame["sku"].to_list() == ["1"]
    [file] = resolve(source, SHOP, staging)
    assert file.name == f"{address}/p.jsonl.gz", "what stands in every row tells no token"
    assert "HTTP 404" in refused(SourceMissing, f"{address}/none.jsonl", staging=staging).message
    assert "HTTP 403" in refused(SourceUnreachable, f"{address}/secret.jsonl", staging=staging).message
    refused(SourceUnreachable, f"{address}/cut.jsonl", staging=staging)
    refused(SourceUnreachable, "http://127.0.0.1:1/x.jsonl", staging=staging)
    refused(SourceUnreachable, "ftp://127.0.0.1/x.jsonl", staging=staging)


def test_s3_keys_prefixes_and_globs_are_streamed_and_read(tmp_path, home, monkeypatch):
    import obstore
    from obstore.store import S3Store

    with serving(monkeypatch):
        store = S3Store("shop")
        for name in ("day/a.jsonl", "day/b.jsonl", "day/_SUCCESS", "other.csv"):
            obstore.put(
                store, name, (lines({"sku": name, "title": "t"}) if "json" in name else "sku,title\n1,t\n").encode()
            )
        assert Read("s3://shop/other.csv", staging=tmp_path).frame["sku"].to_list() == ["1"]
        for source in ("s3://shop/day", "s3://shop/day/", "s3://shop/day/*.jsonl"):
            assert Read(source, staging=tmp_path).frame["sku"].to_list() == ["day/a.jsonl", "day/b.jsonl"]
        refused(SourceMissing, "s3://shop/none.jsonl", staging=tmp_path)
        refused(AisleError, "s3://no-such-bucket/a.jsonl", staging=tmp_path)
