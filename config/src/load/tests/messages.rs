//! Every text that a wrong file earns, letter by letter.

use super::*;

#[test]
fn all_problems_of_a_file_are_told_at_once() {
    let text = "
memory: 1 MiB
bufering: 1
delivery_streams:
  - name: access logs
    buffering:
      size: 5 GiB
      interval: 60
    destination:
      file: {}
  - destination: { s3: { bucket: a/b, time_zone: Berlin } }
";
    insta::assert_snapshot!(problems(text), @"
    config error: hydrant.yaml:2:9: memory: must be 64 MiB to 1 TiB, got 1 MiB
    config error: hydrant.yaml:3:1: bufering: unknown key
      hint: known here: `data_dir`, `data_dir_encrypted`, `memory`, `account`, `api`, `admin`, `credentials`, `s3`, `lambda`, `glue`, `opensearch`, `api_destinations`, `limits`, `streams` and `delivery_streams`
    config error: hydrant.yaml:5:11: delivery_streams[0].name: must be 1 to 64 of `a-z A-Z 0-9 _ . -`, got `access logs`
    config error: hydrant.yaml:7:13: delivery_streams[0].buffering.size: must be 1 MiB to 1 GiB, got 5 GiB
      hint: raise `interval`, or split the stream
    config error: hydrant.yaml:8:17: delivery_streams[0].buffering.interval: must be 0 s to 3600 s, got 60
      hint: a number needs its unit: write `60 s`
    config error: hydrant.yaml:10:13: delivery_streams[0].destination.file.directory: is missing
      hint: must be a path, relative to the YAML file
    config error: hydrant.yaml:11:5: delivery_streams[1].name: is missing
      hint: must be 1 to 64 of `a-z A-Z 0-9 _ . -`
    config error: hydrant.yaml:11:34: delivery_streams[1].destination.s3.bucket: must be 1 to 255 letters, digits, `_`, `.` and `-`, got `a/b`
      hint: the name alone; what follows it belongs into `prefix`
    config error: hydrant.yaml:11:50: delivery_streams[1].destination.s3.time_zone: must be a name of the IANA time zone database, got `Berlin`
      hint: such as `Europe/Berlin`; `UTC` is the default
    9 problems; nothing was started
    ");
}

#[test]
fn one_problem_is_not_many() {
    insta::assert_snapshot!(problems("memory: lots"), @"
    config error: hydrant.yaml:1:9: memory: must be 64 MiB to 1 TiB, got `lots`
      hint: write a whole number and one of `B`, `KiB`, `MiB`, `GiB`, `TiB`, `kB`, `MB`, `GB`, `TB`
    1 problem; nothing was started
    ");
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let missing = load(Path::new("no/such.yaml"), &Environment::of([])).unwrap_err();
    insta::assert_snapshot!(missing, @"
    config error: no/such.yaml: cannot be read: No such file or directory (os error 2)
      hint: `hydrant init` writes one to start from
    1 problem; nothing was started
    ");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    std::fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
    let binary = load(&path, &Environment::of([])).unwrap_err().to_string();
    assert!(
        binary.contains("cannot be read: stream did not contain valid UTF-8\n  hint: save it as UTF-8"),
        "{binary}"
    );
}

#[test]
fn an_empty_file_is_told() {
    insta::assert_snapshot!(problems("# nothing\n"), @"
    config error: hydrant.yaml: the file is empty
      hint: `hydrant init` writes one to start from
    1 problem; nothing was started
    ");
    insta::assert_snapshot!(problems("- a\n"), @"
    config error: hydrant.yaml:1:1: must be a map of keys, got a list
    1 problem; nothing was started
    ");
    insta::assert_snapshot!(problems("memory: 1 GiB\n---\nmemory: 1 GiB\n"), @"
    config error: hydrant.yaml:2:1: a second YAML document begins here
      hint: remove the `---`; one file holds one configuration
    1 problem; nothing was started
    ");
}

#[test]
fn unknown_keys_get_the_nearest_known_key() {
    insta::assert_snapshot!(stream_problems("    bufferring: { size: 1 MiB }\n    colour: red\n    destination: { file: { dirctory: a } }"), @"
    config error: hydrant.yaml:3:5: delivery_streams[0].bufferring: unknown key
      hint: did you mean `buffering`?
    config error: hydrant.yaml:4:5: delivery_streams[0].colour: unknown key
      hint: known here: `name`, `region`, `from_stream`, `buffering`, `backlog_max`, `log`, `history`, `processing`, `partitioning`, `format`, `destination` and `backup`
    config error: hydrant.yaml:5:26: delivery_streams[0].destination.file.directory: is missing
      hint: must be a path, relative to the YAML file
    config error: hydrant.yaml:5:28: delivery_streams[0].destination.file.dirctory: unknown key
      hint: did you mean `directory`?
    4 problems; nothing was started
    ");
    insta::assert_snapshot!(problems("api: { port: 4567 }"), @"
    config error: hydrant.yaml:1:8: api.port: unknown key
      hint: known here: `listen` and `tls`
    1 problem; nothing was started
    ");
}

#[test]
fn what_a_credential_may_do_is_what_there_is() {
    let text = "
credentials:
  - access_key_id: A
    secret_access_key: env:S
    allow: [{ actions: [firehose:PutRecrod], resources: [access-1] }, { actions: [] }]
";
    insta::assert_snapshot!(problems_in(text, &Environment::of([("S", "s")])), @"
    config error: hydrant.yaml:5:25: credentials[0].allow[0].actions[0]: must be an operation such as `firehose:PutRecord`, `*` standing for any text, got `firehose:PutRecrod`
      hint: no operation is called so; the nearest is `firehose:PutRecord`
    config error: hydrant.yaml:5:58: credentials[0].allow[0].resources[0]: must be `delivery_stream/NAME`, `stream/NAME` or an ARN, `*` standing for any text, got `access-1`
      hint: for every delivery stream write `delivery_stream/*`
    config error: hydrant.yaml:5:82: credentials[0].allow[1].actions: must name at least one, got none
      hint: without `actions` the statement covers all
    3 problems; nothing was started
    ");
}

#[test]
fn tls_needs_both_files_and_both_must_be_there() {
    insta::assert_snapshot!(problems("api: { tls: { certificate: nowhere.pem } }"), @"
    config error: hydrant.yaml:1:13: api.tls.key: is missing
      hint: must be a path, relative to the YAML file
    config error: hydrant.yaml:1:28: api.tls.certificate: file not found, got `nowhere.pem`
      hint: the path is relative to the YAML file
    2 problems; nothing was started
    ");
}

#[test]
fn keys_of_later_versions_are_not_called_unknown() {
    let text = "
secrets: {}
admin: { tls: {} }
delivery_streams:
  - name: a
    format: { orc: {} }
    destination: { file: { directory: a } }
";
    insta::assert_snapshot!(problems(text), @"
    config error: hydrant.yaml:2:1: secrets: not supported yet by this version
      hint: remove the key
    config error: hydrant.yaml:3:10: admin.tls: not supported yet by this version
      hint: remove the key
    config error: hydrant.yaml:6:15: delivery_streams[0].format.orc: not supported yet by this version
      hint: remove the key
    3 problems; nothing was started
    ");
}

#[test]
fn repeated_keys_are_refused() {
    insta::assert_snapshot!(problems("memory: 1 GiB\naccount: \"123456789012\"\nmemory: 2 GiB"), @"
    config error: hydrant.yaml:3:1: the key `memory` stands twice, first in line 1
      hint: remove one of them
    1 problem; nothing was started
    ");
}

#[test]
fn tabs_are_refused() {
    insta::assert_snapshot!(problems("api:\n\tlisten: 127.0.0.1:1"), @"
    config error: hydrant.yaml:2:2: a tab cannot indent YAML
      hint: use spaces
    1 problem; nothing was started
    ");
    insta::assert_snapshot!(problems("delivery_streams:\n  - name: a\n\t  destination: {}"), @"
    config error: hydrant.yaml:2:11: a tab cannot indent YAML
      hint: use spaces
    1 problem; nothing was started
    ");
}

#[test]
fn other_words_for_booleans_are_refused() {
    let of = |word: &str| {
        let text =
            format!("    processing: {{ append_delimiter: {word} }}\n    destination: {{ file: {{ directory: a }} }}");
        stream_problems(&text).lines().take(2).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(of("no"), @"
    config error: hydrant.yaml:3:37: delivery_streams[0].processing.append_delimiter: must be `true` or `false`, got `no`
      hint: write `false`
    ");
    insta::assert_snapshot!(of("on"), @"
    config error: hydrant.yaml:3:37: delivery_streams[0].processing.append_delimiter: must be `true` or `false`, got `on`
      hint: write `true`
    ");
    insta::assert_snapshot!(of("maybe"), @"
    config error: hydrant.yaml:3:37: delivery_streams[0].processing.append_delimiter: must be `true` or `false`, got `maybe`
    1 problem; nothing was started
    ");
}

#[test]
fn octal_numbers_are_refused() {
    let of = |number: &str| {
        let text = format!(
            "    partitioning: {{ partitions_max: {number} }}\n    destination: {{ file: {{ directory: a }} }}"
        );
        stream_problems(&text).lines().take(2).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(of("0777"), @"
    config error: hydrant.yaml:3:37: delivery_streams[0].partitioning.partitions_max: must be 1 to 50000, got 0777
      hint: a leading zero means octal to some and nothing to others: write `777`
    ");
    insta::assert_snapshot!(of("60000"), @"
    config error: hydrant.yaml:3:37: delivery_streams[0].partitioning.partitions_max: must be 1 to 50000, got 60000
    config error: hydrant.yaml:4:26: delivery_streams[0].destination.file.prefix: dynamic partitioning is on, but the prefix asks for no partition key
    ");
    insta::assert_snapshot!(of("1e3"), @"
    config error: hydrant.yaml:3:37: delivery_streams[0].partitioning.partitions_max: must be 1 to 50000, got 1e3
      hint: write a whole number in digits
    ");
}

#[test]
fn merge_keys_aliases_and_tags_are_refused() {
    let text = "
s3: &minio { region: us-east-1 }
api: { <<: *minio }
admin: *minio
memory: !!int 5
glue: *nobody
? [a]
: b
";
    insta::assert_snapshot!(problems(text), @"
    config error: hydrant.yaml:3:8: YAML merge keys (`<<`) are not supported
      hint: write the keys out
    config error: hydrant.yaml:3:12: YAML anchors and aliases are not supported
      hint: write the value out
    config error: hydrant.yaml:4:8: YAML anchors and aliases are not supported
      hint: write the value out
    config error: hydrant.yaml:5:15: YAML tags are not supported, got `!!int`
      hint: remove the tag; quote what must be text
    config error: hydrant.yaml:6:7: YAML anchors and aliases are not supported
      hint: write the value out
    config error: hydrant.yaml:7:3: a key must be text, got a list or a map
    6 problems; nothing was started
    ");
}

#[test]
fn syntax_errors_tell_where() {
    insta::assert_snapshot!(problems("api: { listen: 1\nmemory: 5"), @"
    config error: hydrant.yaml:2:7: not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'
    1 problem; nothing was started
    ");
    insta::assert_snapshot!(problems("memory: 5: 6"), @"
    config error: hydrant.yaml:1:10: not valid YAML: a `:` stands where no key can be
      hint: check the indentation of this line, or quote the text that holds `: `
    1 problem; nothing was started
    ");
}

#[test]
fn values_of_the_wrong_kind_are_told() {
    insta::assert_snapshot!(problems("api: 127.0.0.1:4567\nadmin:\ndelivery_streams: { name: a }\nmemory: [1]\nglue: 7\naccount: ~"), @"
    config error: hydrant.yaml:1:6: api: must be a map of keys, got `127.0.0.1:4567`
    config error: hydrant.yaml:2:6: admin: must be a map of keys, got nothing
      hint: write `{}` for the defaults, or remove the key
    config error: hydrant.yaml:3:19: delivery_streams: must be a list, got a map
    config error: hydrant.yaml:4:9: memory: must be 64 MiB to 1 TiB, got a list
    config error: hydrant.yaml:5:7: glue: must be a map, got 7
    config error: hydrant.yaml:6:10: account: must be twelve digits, got nothing
      hint: give it a value, or remove the key
    6 problems; nothing was started
    ");
}

#[test]
fn numbers_without_a_unit_are_refused() {
    insta::assert_snapshot!(problems("memory: 536870912"), @"
    config error: hydrant.yaml:1:9: memory: must be 64 MiB to 1 TiB, got 536870912
      hint: write `512 MiB`
    1 problem; nothing was started
    ");
    insta::assert_snapshot!(stream_problems("    buffering: { size: 64, interval: 2 h }\n    destination: { file: { directory: a } }"), @"
    config error: hydrant.yaml:3:24: delivery_streams[0].buffering.size: must be 1 MiB to 1 GiB, got 64
      hint: a number needs its unit: write `64 MiB`
    config error: hydrant.yaml:3:38: delivery_streams[0].buffering.interval: must be 0 s to 3600 s, got 2 h
    2 problems; nothing was started
    ");
}

#[test]
fn a_choice_has_exactly_one_key() {
    insta::assert_snapshot!(stream_problems("    format: parquet\n    destination: { file: { directory: a }, s3: { bucket: b } }"), @"
    config error: hydrant.yaml:3:13: delivery_streams[0].format: must be a map with exactly one of `lines` or `parquet`, got `parquet`
      hint: the choice is a key: write `format: { parquet: { … } }`
    config error: hydrant.yaml:4:18: delivery_streams[0].destination: must be a map with exactly one of `file`, `s3`, `http_endpoint`, `opensearch` or `splunk`, got `file` and `s3`
    2 problems; nothing was started
    ");
    insta::assert_snapshot!(stream_problems("    format: { lines: }\n    destination: {}"), @"
    config error: hydrant.yaml:3:20: delivery_streams[0].format.lines: must be a map of keys, got nothing
      hint: write `{}` for the defaults, or remove the key
    config error: hydrant.yaml:4:18: delivery_streams[0].destination: must be a map with exactly one of `file`, `s3`, `http_endpoint`, `opensearch` or `splunk`, got none
    2 problems; nothing was started
    ");
    insta::assert_snapshot!(stream_problems("    format: { jsonl: {} }"), @"
    config error: hydrant.yaml:2:5: delivery_streams[0].destination: is missing
      hint: must be a map with exactly one key
    config error: hydrant.yaml:3:15: delivery_streams[0].format.jsonl: unknown key
      hint: known here: `lines` and `parquet`
    2 problems; nothing was started
    ");
}

#[test]
fn addresses_accounts_and_access_are_checked() {
    insta::assert_snapshot!(problems("account: 1234\napi: { listen: localhost:4567 }"), @"
    config error: hydrant.yaml:1:10: account: must be twelve digits, got 1234
    config error: hydrant.yaml:2:16: api.listen: must be an IP address and a port, got `localhost:4567`
      hint: write it as `127.0.0.1:4567`, `0.0.0.0:4567` or `[::1]:4567`
    2 problems; nothing was started
    ");
    insta::assert_snapshot!(problems("api: { listen: 0.0.0.0:4567 }"), @"
    config error: hydrant.yaml:1:16: api.listen: must be a loopback address without `credentials`, got `0.0.0.0:4567`
      hint: add `credentials: [{ access_key_id: …, secret_access_key: env:NAME }]`
    1 problem; nothing was started
    ");
    insta::assert_snapshot!(problems("api: { listen: 127.0.0.1:4568 }"), @"
    config error: hydrant.yaml:1:16: admin.listen: must differ from `api.listen`, got `127.0.0.1:4568` for both
      hint: choose another port
    1 problem; nothing was started
    ");
    insta::assert_snapshot!(problems("credentials: []\napi: { listen: 0.0.0.0:4567 }"), @"
    config error: hydrant.yaml:1:14: credentials: must name at least one credential, got none
      hint: without the section anybody may call, on loopback only
    1 problem; nothing was started
    ");
    let twice = "credentials:\n  - { access_key_id: A, secret_access_key: plain:a }\n  - { access_key_id: A, secret_access_key: plain:b }\n  - { access_key_id: env:ID }";
    insta::assert_snapshot!(problems(twice), @"
    config error: hydrant.yaml:3:5: credentials[1]: the key id `A` stands twice
      hint: remove one of them
    config error: hydrant.yaml:4:5: credentials[2].secret_access_key: is missing
      hint: must be `env:NAME`, `file:PATH`, `credential:NAME` or `plain:TEXT`
    config error: hydrant.yaml:4:22: credentials[2].access_key_id: must be 1 to 128 letters, digits and `_`, got `env:ID`
      hint: for a variable write `${NAME}`
    3 problems; nothing was started
    ");
}

#[test]
fn secrets_are_never_shown() {
    let of =
        |reference: &str| problems(&format!("credentials: [{{ access_key_id: A, secret_access_key: {reference} }}]"));
    let text = of("wJalrXUtnFEMI");
    assert!(!text.contains("wJalr"), "{text}");
    insta::assert_snapshot!(text, @"
    config error: hydrant.yaml:1:54: credentials[0].secret_access_key: must be `env:NAME`, `file:PATH`, `credential:NAME` or `plain:TEXT`, got a text without one of these
      hint: put `plain:` before it to keep it in this file
    1 problem; nothing was started
    ");
    insta::assert_snapshot!(of("env:NOPE"), @"
    config error: hydrant.yaml:1:54: credentials[0].secret_access_key: the environment variable `NOPE` is not set
      hint: set it for the daemon, for example `Environment=NOPE=…` in its systemd unit
    1 problem; nothing was started
    ");
    insta::assert_snapshot!(of("file:/no/such/file"), @"
    config error: hydrant.yaml:1:54: credentials[0].secret_access_key: cannot read `/no/such/file`: No such file or directory (os error 2)
      hint: the daemon's user must be able to read it
    1 problem; nothing was started
    ");
    insta::assert_snapshot!(of("credential:key"), @"
    config error: hydrant.yaml:1:54: credentials[0].secret_access_key: systemd passed no credentials: `$CREDENTIALS_DIRECTORY` is not set
      hint: add `LoadCredential=key:PATH` to the unit, or use `file:PATH`
    1 problem; nothing was started
    ");
    insta::assert_snapshot!(of("credential:../key"), @"
    config error: hydrant.yaml:1:54: credentials[0].secret_access_key: must be `credential:NAME` without a path, got `../key`
      hint: for a path write `file:PATH`
    1 problem; nothing was started
    ");
    insta::assert_snapshot!(of("'plain:'"), @"
    config error: hydrant.yaml:1:54: credentials[0].secret_access_key: the secret is empty
      hint: check what the reference points to
    1 problem; nothing was started
    ");
}

#[test]
fn variables_that_are_not_set_are_told() {
    let env = Environment::of([("SIZE", "5 GiB")]);
    let text = "account: ${ACCOUNT}\nmemory: ${}\ndelivery_streams:\n  - { name: a, buffering: { size: \"${SIZE}\" }, destination: { file: { directory: a } } }";
    insta::assert_snapshot!(problems_in(text, &env), @"
    config error: hydrant.yaml:1:10: account: the environment variable `ACCOUNT` is not set
      hint: set it for the daemon, for example `Environment=ACCOUNT=…` in its systemd unit
    config error: hydrant.yaml:2:9: memory: `${` must begin `${NAME}`, where NAME is letters, digits and `_`
      hint: for the text `${` itself write `$${`
    config error: hydrant.yaml:4:35: delivery_streams[0].buffering.size: must be 1 MiB to 1 GiB, got `5 GiB` from `${SIZE}`
      hint: raise `interval`, or split the stream
    3 problems; nothing was started
    ");
}

#[test]
fn the_s3_connection_is_checked() {
    let text = "s3:\n  endpoint: 127.0.0.1:9000\n  region: US East\n  access_key_id: plain:minio\n  path_style: yes";
    insta::assert_snapshot!(problems(text), @"
    config error: hydrant.yaml:2:13: s3.endpoint: must be an `http://` or `https://` URL without a path, got `127.0.0.1:9000`
      hint: write it as `http://127.0.0.1:9000`; the bucket has its own key
    config error: hydrant.yaml:3:11: s3.region: must be a region such as `eu-central-1`, got `US East`
      hint: lower-case letters, digits and `-`
    config error: hydrant.yaml:4:18: s3.access_key_id: needs `secret_access_key` beside it
      hint: add `secret_access_key`, or remove `access_key_id`
    config error: hydrant.yaml:5:15: s3.path_style: must be `true` or `false`, got `yes`
      hint: write `true`
    4 problems; nothing was started
    ");
    insta::assert_snapshot!(problems("s3: { endpoint: http://127.0.0.1:9000/bucket, session_token: plain:a }"), @"
    config error: hydrant.yaml:1:17: s3.endpoint: must be an `http://` or `https://` URL without a path, got `http://127.0.0.1:9000/bucket`
      hint: write it as `http://127.0.0.1:9000`; the bucket has its own key
    config error: hydrant.yaml:1:62: s3.session_token: needs `access_key_id` beside it
      hint: add `access_key_id`, or remove `session_token`
    2 problems; nothing was started
    ");
}

#[test]
fn warnings_are_told() {
    insta::assert_snapshot!(warnings(SMALLEST), @"
    config warning: hydrant.yaml: no `credentials`: everybody on this machine who reaches 127.0.0.1:4567 may write
      hint: add `credentials` before others share the machine
    ");
    let text = "admin: { listen: 0.0.0.0:4568 }\ncredentials:\n  - { access_key_id: A, secret_access_key: plain:secret }\ns3: { access_key_id: plain:a, secret_access_key: plain:b }";
    insta::assert_snapshot!(warnings(text), @"
    config warning: hydrant.yaml:1:18: admin.listen: everybody who reaches 0.0.0.0:4568 can read metrics and state
      hint: keep it on loopback, or behind a firewall
    config warning: hydrant.yaml:3:44: credentials[0].secret_access_key: the secret stands in this file
      hint: keep it outside: `env:NAME`, `file:PATH` or `credential:NAME`
    config warning: hydrant.yaml:4:50: s3.secret_access_key: the secret stands in this file
      hint: keep it outside: `env:NAME`, `file:PATH` or `credential:NAME`
    ");
}

#[test]
fn limits_and_streams_say_what_is_allowed() {
    let text = "
limits: { shard_records_in: 0, shard_bytes_in: 5, shards: none, control_calls: on, subscription: 1 ms }
streams:
  - { name: a/b, shards: 0, retention: 90 m }
  - { name: c, mode: auto, retention: 1501 m }
  - { name: c }
";
    insta::assert_snapshot!(problems(text), @"
    config error: hydrant.yaml:2:29: limits.shard_records_in: must be 1 to 1000000000, or `off`, got 0
    config error: hydrant.yaml:2:48: limits.shard_bytes_in: must be 1 KiB to 1 TiB, or `off`, got 5
      hint: a number needs its unit: write `5 MiB`
    config error: hydrant.yaml:2:59: limits.shards: must be 1 to 1000000000, or `off`, got `none`
      hint: write a whole number in digits
    config error: hydrant.yaml:2:80: limits.control_calls: must be `off` or `aws`, got `on`
    config error: hydrant.yaml:2:98: limits.subscription: must be 1 s to 1 d, got 1 ms
    config error: hydrant.yaml:4:13: streams[0].name: must be 1 to 128 of `a-z A-Z 0-9 _ . -`, got `a/b`
    config error: hydrant.yaml:4:26: streams[0].shards: must be 1 to 10000, got 0
    config error: hydrant.yaml:4:40: streams[0].retention: must be 1 d to 365 d, got 90 m
    config error: hydrant.yaml:5:22: streams[1].mode: must be `provisioned` or `on_demand`, got `auto`
    config error: hydrant.yaml:5:39: streams[1].retention: must be whole hours, got 1501 m
      hint: write it as `36 h` or `7 d`
    config error: hydrant.yaml:6:5: streams[2]: the name `c` stands twice
      hint: names must be distinct
    11 problems; nothing was started
    ");
}
