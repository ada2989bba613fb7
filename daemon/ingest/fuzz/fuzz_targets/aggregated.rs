#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hydrant_ingest::fuzzing::aggregated(data));
