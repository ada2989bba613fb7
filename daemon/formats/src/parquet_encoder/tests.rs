use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use hydrant_config::ColumnKind;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Type;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use proptest::prelude::*;

use super::*;
use crate::rows::{MALFORMED_DATA, PARSE_ERROR};

const ROW_GROUP: u64 = 128 << 20;
const COMPRESSIONS: [ParquetCompression; 5] = [
    ParquetCompression::None,
    ParquetCompression::Snappy,
    ParquetCompression::Gzip,
    ParquetCompression::Zstd,
    ParquetCompression::Lz4,
];

fn columns(columns: &[(&str, ColumnKind)]) -> Vec<Column> {
    columns.iter().map(|(name, kind)| Column { name: (*name).to_owned(), kind: *kind }).collect()
}

fn encoder(schema: &[(&str, ColumnKind)]) -> ParquetEncoder {
    ParquetEncoder::new(&columns(schema), ParquetCompression::Zstd, ROW_GROUP)
}

fn encode<T: AsRef<[u8]>>(encoder: &mut ParquetEncoder, records: &[T]) -> (Encoded, Vec<u8>) {
    let mut out = Vec::new();
    let mut records = records.iter().map(|record| Ok(Bytes::copy_from_slice(record.as_ref())));
    let encoded = encoder.encode(&mut records, &mut out).unwrap();
    (encoded, out)
}

/// Every cell as text, null as `-`, by the parquet crate's own reader.
fn read(file: Vec<u8>) -> Vec<Vec<String>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap().build().unwrap();
    reader.flat_map(|batch| cells(&batch.unwrap())).collect()
}

fn cells(batch: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::new().with_null("-");
    let columns: Vec<_> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|cells| cells.value(row).to_string()).collect()).collect()
}

fn metadata(file: Vec<u8>) -> ParquetMetaData {
    SerializedFileReader::new(Bytes::from(file)).unwrap().metadata().clone()
}

const ALL: [(&str, ColumnKind); 12] = [
    ("flag", ColumnKind::Boolean),
    ("tiny", ColumnKind::Tinyint),
    ("small", ColumnKind::Smallint),
    ("whole", ColumnKind::Int),
    ("big", ColumnKind::Bigint),
    ("real", ColumnKind::Float),
    ("precise", ColumnKind::Double),
    ("name", ColumnKind::String),
    ("raw", ColumnKind::Binary),
    ("day", ColumnKind::Date),
    ("at", ColumnKind::Timestamp),
    ("price", ColumnKind::Decimal { precision: 9, scale: 2 }),
];

const FULL: &str = concat!(
    r#"{"flag":true,"tiny":-1,"small":300,"whole":70000,"big":5000000000,"real":1.5,"precise":-2.25,"#,
    r#""name":"né\u0041","raw":"AP8=","day":"2024-02-29","at":"2024-02-29T12:34:56.5Z","price":12.5}"#
);

#[test]
fn every_type_comes_back_under_every_compression() {
    let full = [
        "true",
        "-1",
        "300",
        "70000",
        "5000000000",
        "1.5",
        "-2.25",
        "néA",
        "00ff",
        "2024-02-29",
        "2024-02-29T12:34:56.500Z",
        "12.50",
    ];
    let empty = ["-"; 12];
    for compression in COMPRESSIONS {
        let mut encoder = ParquetEncoder::new(&columns(&ALL), compression, ROW_GROUP);
        let (encoded, file) = encode(&mut encoder, &[FULL, "{}", FULL]);
        assert_eq!(encoded, Encoded { records: 3, rows: 3, rejected: vec![] });
        assert_eq!(read(file), [full.to_vec(), empty.to_vec(), full.to_vec()], "{compression:?}");
    }
}

#[test]
fn the_file_describes_itself() {
    let (_, file) = encode(&mut encoder(&ALL), &[FULL]);
    let metadata = metadata(file);
    assert_eq!(metadata.file_metadata().created_by(), Some("hydrant"));
    assert!(metadata.file_metadata().key_value_metadata().is_none());
    let schema = metadata.file_metadata().schema_descr();
    let physical: Vec<Type> = (0..schema.num_columns()).map(|index| schema.column(index).physical_type()).collect();
    let expected = [
        Type::BOOLEAN,
        Type::INT32,
        Type::INT32,
        Type::INT32,
        Type::INT64,
        Type::FLOAT,
        Type::DOUBLE,
        Type::BYTE_ARRAY,
        Type::BYTE_ARRAY,
        Type::INT32,
        Type::INT64,
        Type::INT32,
    ];
    assert_eq!(physical, expected);
    assert!((0..schema.num_columns()).all(|index| schema.column(index).self_type().is_optional()));
    let at = format!("{:?}", schema.column(10).logical_type_ref());
    assert!(at.contains("is_adjusted_to_u_t_c: true") && at.contains("MICROS"), "{at}");
    let chunk = metadata.row_group(0).column(4);
    assert_eq!(chunk.statistics().unwrap().null_count_opt(), Some(0));
    assert_eq!(chunk.statistics().unwrap().min_bytes_opt(), Some(&5_000_000_000i64.to_le_bytes()[..]));
}

#[test]
fn names_match_without_case_and_the_last_of_a_name_wins() {
    let mut encoder = encoder(&[("userid", ColumnKind::Int), ("größe", ColumnKind::String)]);
    let records = [
        r#"{"userId":1,"GRÖSSE":"no","GRÖßE":"a"}"#,
        r#"{"other":{"userid":9},"USERID":2}"#,
        r#"{"größe":"b","userid":3,"userid":4,"UserId":null,"userid":5}"#,
        r#"{"user\u0069d":6}"#,
        r#"{"größe":"c","größe":null}"#,
    ];
    let (encoded, file) = encode(&mut encoder, &records);
    assert_eq!(encoded.rows, 5);
    assert_eq!(read(file), [["1", "a"], ["2", "-"], ["5", "b"], ["6", "-"], ["-", "-"]]);
}

#[test]
fn a_record_may_hold_several_objects_and_is_refused_whole() {
    let mut encoder = encoder(&[("a", ColumnKind::Int), ("s", ColumnKind::String)]);
    let records = [
        r#"{"a":1}{"a":2,"s":"x"}"#,
        r#"{"a":3,"s":"lost"}{"a":4,"s":"lost"} {"a":"five"}"#,
        " {\"a\":6}\n\n{\"a\":7}\n",
        r#"{"a":8,"s":"lost"}{"a":9"#,
        r#"{"s":"y"}"#,
    ];
    let (encoded, file) = encode(&mut encoder, &records);
    assert_eq!((encoded.records, encoded.rows), (3, 5));
    let rejected: Vec<_> = encoded.rejected.iter().map(|rejected| (rejected.index, rejected.code)).collect();
    assert_eq!(rejected, [(1, MALFORMED_DATA), (3, PARSE_ERROR)]);
    assert_eq!(read(file), [["1", "-"], ["2", "x"], ["6", "-"], ["7", "-"], ["-", "y"]]);
}

#[test]
fn refusals_say_what_and_where() {
    let mut encoder = encoder(&[("status", ColumnKind::Smallint), ("ts", ColumnKind::Timestamp)]);
    let long = format!(r#"{{"status":"{}"}}"#, "x".repeat(200));
    let cases = [
        (r#"{"status":70000}"#, MALFORMED_DATA, "column `status` wants smallint, got 70000: out of range"),
        (r#"{"status":1.5}"#, MALFORMED_DATA, "column `status` wants smallint, got 1.5: has a fraction"),
        (&long, MALFORMED_DATA, &format!("column `status` wants smallint, got \"{}\"…: not a number", "x".repeat(80))),
        ("[{\"status\":1}]", MALFORMED_DATA, "a record must hold JSON objects, got an array at the top level"),
        ("\"text\" 12", MALFORMED_DATA, "a record must hold JSON objects, got a string at the top level"),
        ("{} null", MALFORMED_DATA, "a record must hold JSON objects, got null at the top level"),
        ("127.0.0.1 - -", PARSE_ERROR, "not JSON at byte "),
        ("[1,", PARSE_ERROR, "not JSON at byte "),
        ("", PARSE_ERROR, "no JSON object in the record"),
        (" \n", PARSE_ERROR, "no JSON object in the record"),
        ("{\"status\"", PARSE_ERROR, "not JSON: expected `:`, got the end of the record"),
        ("{\"ts\":tomorrow}", PARSE_ERROR, "not JSON at byte "),
    ];
    let records: Vec<&str> = cases.iter().map(|(record, ..)| *record).collect();
    let (encoded, file) = encode(&mut encoder, &records);
    assert!(file.is_empty(), "nothing was accepted");
    assert_eq!((encoded.records, encoded.rows, encoded.rejected.len()), (0, 0, cases.len()));
    for ((record, code, message), rejected) in cases.iter().zip(&encoded.rejected) {
        assert_eq!(rejected.code, *code, "{record}: {}", rejected.message);
        assert!(rejected.message.starts_with(message), "{record}: {}", rejected.message);
        assert!(!rejected.message.contains('\n'), "{record}: {}", rejected.message);
    }
}

#[test]
fn a_record_of_very_many_objects_goes_in_batch_by_batch_or_not_at_all() {
    let rows = 3 * BATCH_ROWS + 7;
    let many: String = (0..rows).map(|row| format!("{{\"a\":{row}}}")).collect();
    let spoiled = format!("{many}{{\"a\":\"x\"}}");
    let mut encoder = encoder(&[("a", ColumnKind::Int)]);
    let (encoded, file) = encode(&mut encoder, &["{\"a\":-1}", &spoiled, &many, "{\"a\":-2}"]);
    assert_eq!(encoded.rejected.len(), 1);
    assert_eq!((encoded.records, encoded.rows), (3, 2 + rows as u64));
    let expected: Vec<String> = [-1].into_iter().chain(0..rows as i64).chain([-2]).map(|row| row.to_string()).collect();
    assert_eq!(read(file).concat(), expected);
    assert!(encoder.rows.bytes() < BATCH_BYTES);
}

#[test]
fn row_groups_end_by_size() {
    let mut encoder = ParquetEncoder::new(&columns(&[("s", ColumnKind::String)]), ParquetCompression::None, 1 << 20);
    let records: Vec<String> = (0..5000).map(|row| format!("{{\"s\":\"{row:0>1000}\"}}")).collect();
    let (_, file) = encode(&mut encoder, &records);
    let groups: Vec<i64> = metadata(file.clone()).row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(groups, [2048, 2048, 904]);
    assert_eq!(read(file).len(), 5000);
}

/// Bytes may change with a new version of a library; then the new digests go here, after a look at the files.
#[test]
fn the_same_records_give_the_same_bytes() {
    let records: Vec<String> =
        (0..3000).map(|row| FULL.replace("70000", &row.to_string()).replace("né", &format!("{}", row % 7))).collect();
    let digest = |compression| {
        let mut encoder = ParquetEncoder::new(&columns(&ALL), compression, ROW_GROUP);
        let (_, file) = encode(&mut encoder, &records);
        let (_, again) = encode(&mut encoder, &records);
        assert!(file == again, "{compression:?}: an encoder that was used before");
        let mut crc = flate2::Crc::new();
        crc.update(&file);
        (file.len(), crc.sum())
    };
    let expected =
        [(16057, 1994982063), (14697, 1761972711), (15130, 1142312449), (9119, 3077506134), (14645, 2930093098)];
    assert_eq!(COMPRESSIONS.map(digest), expected);
}

#[test]
fn an_encoder_goes_on_after_a_failure() {
    let mut encoder = encoder(&[("a", ColumnKind::Int)]);
    let mut broken = [Ok(Bytes::from_static(b"{\"a\":1}")), Err(io::Error::other("gone"))].into_iter();
    assert!(matches!(encoder.encode(&mut broken, &mut Vec::new()), Err(EncodeError::Io(_))));
    let mut records = [Ok(Bytes::from_static(b"{\"a\":1}"))].into_iter();
    assert!(matches!(encoder.encode(&mut records, &mut &mut [0u8; 10][..]), Err(EncodeError::Io(_))));
    let (encoded, file) = encode(&mut encoder, &["{\"a\":2}"]);
    assert_eq!((encoded.rows, read(file)), (1, vec![vec!["2".to_owned()]]));
}

#[test]
fn dictionaries_only_where_they_pay() {
    let mut encoder = encoder(&[("id", ColumnKind::String), ("kind", ColumnKind::String), ("n", ColumnKind::Bigint)]);
    let records: Vec<String> =
        (0..4000).map(|row| format!(r#"{{"id":"id-{row}","kind":"k{}","n":{}}}"#, row % 9, row * 977)).collect();
    let (_, file) = encode(&mut encoder, &records);
    let metadata = metadata(file);
    let dictionaries: Vec<bool> =
        metadata.row_group(0).columns().iter().map(|column| column.dictionary_page_offset().is_some()).collect();
    assert_eq!(dictionaries, [false, true, false]);
}

/// A record and the rows it must give; `None`: refused.
fn any_record() -> impl Strategy<Value = (String, Option<Vec<[String; 3]>>)> {
    let cell = |value: Option<String>| value.unwrap_or_else(|| "-".into());
    let object = (any::<Option<i32>>(), proptest::option::of("\\PC{0,20}"), any::<Option<bool>>()).prop_map(
        move |(number, text, flag)| {
            let json = serde_json::json!({ "N": number, "text": text, "extra": [text, {"n": 1}], "flag": flag });
            let row =
                [cell(number.map(|number| number.to_string())), cell(text), cell(flag.map(|flag| flag.to_string()))];
            (json.to_string(), row)
        },
    );
    let good = proptest::collection::vec(object, 1..4).prop_map(|objects| {
        let (texts, rows): (Vec<String>, Vec<[String; 3]>) = objects.into_iter().unzip();
        (texts.join(" "), Some(rows))
    });
    let spoiled = (good.clone(), 0..5usize).prop_map(|((text, _), kind)| {
        let tail = ["{", "{\"n\":1.5}", "[]", "}", "{\"flag\":7}"][kind];
        (format!("{text}{tail}"), None)
    });
    prop_oneof![4 => good, 1 => spoiled]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_are_the_accepted_input(records in proptest::collection::vec(any_record(), 1..40)) {
        let mut encoder = encoder(&[("n", ColumnKind::Int), ("text", ColumnKind::String), ("flag", ColumnKind::Boolean)]);
        let texts: Vec<&String> = records.iter().map(|(text, _)| text).collect();
        let (encoded, file) = encode(&mut encoder, &texts);
        let refused: Vec<u64> = (0..).zip(&records).filter(|(_, (_, rows))| rows.is_none()).map(|(index, _)| index).collect();
        prop_assert_eq!(encoded.rejected.iter().map(|rejected| rejected.index).collect::<Vec<_>>(), refused);
        let expected: Vec<Vec<String>> = records.iter().filter_map(|(_, rows)| rows.as_ref()).flatten().map(|row| row.to_vec()).collect();
        prop_assert_eq!(encoded.rows, expected.len() as u64);
        prop_assert_eq!(encoded.records + encoded.rejected.len() as u64, records.len() as u64);
        if !expected.is_empty() {
            prop_assert_eq!(read(file), expected);
        }
    }

    #[test]
    fn the_verdict_on_json_is_serde_jsons(text in "[\\[\\]{}\",:a1.e\\-\\\\u0 tnf]{0,24}") {
        let mut encoder = encoder(&[("a", ColumnKind::String)]);
        let record = format!("{{\"a\":{text}}}");
        let (encoded, _) = encode(&mut encoder, &[&record]);
        let values: Result<Vec<serde_json::Value>, _> = serde_json::Deserializer::from_str(&record).into_iter().collect();
        let all_objects = values.as_ref().is_ok_and(|values| values.iter().all(serde_json::Value::is_object));
        // What serde_json reads as a number too large for it is JSON all the same.
        prop_assume!(!values.as_ref().is_err_and(|error| error.to_string().contains("out of range")));
        prop_assert_eq!(encoded.records == 1, all_objects, "{} {:?} {:?}", record, encoded, values);
    }
}
