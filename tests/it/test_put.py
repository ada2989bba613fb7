"""`hydrant put` to an API that speaks TLS."""

import hydrant
from test_matrix import certificates

USAGE = 2


def test_lines_go_to_an_endpoint_that_its_certificate_names(daemon_of, tmp_path):
    authority, certificate, key = certificates(tmp_path)
    yaml = {"name": "lines", "destination": {"file": {"directory": str(tmp_path / "lake")}}}
    daemon = daemon_of([yaml])
    daemon.config["api"]["tls"] = {"certificate": str(certificate), "key": str(key)}
    daemon.write_config()
    daemon.start()
    lines = tmp_path / "lines"
    lines.write_text("one\ntwo\n")

    def put(*options):
        return hydrant.command("put", "lines", lines, "-c", daemon.config_file, *options, environment=daemon.environment)

    https = f"https://127.0.0.1:{daemon.api_port}"
    status, _, err = put()
    assert status == USAGE and f"`--endpoint https://NAME:{daemon.api_port}`" in err, err
    status, _, err = put("--endpoint", https)
    assert status == 1 and "cannot be reached" in err and "UnknownIssuer" in err, err
    for wrong, why in [(tmp_path / "missing", "No such file"), (lines, "there is no certificate in it")]:
        status, _, err = put("--endpoint", https, "--ca", wrong)
        assert status == USAGE and f"--ca `{wrong}` cannot be used: " in err and why in err, err
    status, _, err = put("--endpoint", f"https://localhost:{daemon.api_port}", "--ca", authority)
    assert status == 1 and 'not valid for name "localhost"' in err, err
    status, out, err = put("--endpoint", https, "--ca", authority)
    assert status == 0 and out == "2 records are durable in `lines`\n", (out, err)
    daemon.stop()
    assert [path.read_text() for path in (tmp_path / "lake").rglob("*") if path.is_file()] == ["one\ntwo\n"]
