"""Makes calls by aws-cli within one process: reads {"service", "operation", "parameters"} from each line, prints {"answer"} or
{"error"} on one."""

import base64
import contextlib
import io
import json
import re
import sys

from awscli.clidriver import create_clidriver
from botocore import xform_name


def as_text(members):
    """This version takes the text itself where the API has base64."""
    return {key: base64.b64decode(value).decode() if key == "Data" else value for key, value in members.items()}


driver = create_clidriver()
for line in sys.stdin:
    call = json.loads(line, object_hook=as_text)
    out, err = io.StringIO(), io.StringIO()
    command = ["--output", "json", call["service"], xform_name(call["operation"], "-")]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = driver.main([*command, "--cli-input-json", json.dumps(call["parameters"])])
        except SystemExit as ended:
            status = ended.code
    text, told = out.getvalue().strip(), err.getvalue().strip()
    if status == 0:
        result = {"answer": json.loads(text) if text else {}}
    else:
        named = re.search(r"\((\w+)\) when calling", told)
        result = {"error": {"type": named[1] if named else "none", "message": told}}
    print(json.dumps(result), flush=True)
