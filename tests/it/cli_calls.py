"""Makes calls by aws-cli within one process: reads {"operation", "parameters"} from each line, prints {"answer"} or {"error"} on one.

Usage: python cli_calls.py ENDPOINT SERVICE
"""

import contextlib
import io
import json
import sys

from awscli.clidriver import create_clidriver
from botocore import xform_name

endpoint, service = sys.argv[1:]
driver = create_clidriver()
for line in sys.stdin:
    call = json.loads(line)
    out, err = io.StringIO(), io.StringIO()
    command = ["--endpoint-url", endpoint, "--output", "json", service, xform_name(call["operation"], "-")]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = driver.main([*command, "--cli-input-json", json.dumps(call["parameters"])])
        except SystemExit as ended:
            status = ended.code
    text = out.getvalue().strip()
    result = {"answer": json.loads(text) if text else {}} if status == 0 else {"error": err.getvalue().strip()}
    print(json.dumps(result), flush=True)
