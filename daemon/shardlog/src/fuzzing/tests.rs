use std::fs;
use std::path::Path;

use hydrant_disk::sim::Dice;

use super::*;

/// What fuzzing has found worth keeping, and what it once tripped over.
#[test]
fn the_corpus_breaks_no_promise() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in TARGETS {
        let mut inputs: Vec<_> = fs::read_dir(corpus.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{name} has a corpus");
        for input in inputs {
            target(&fs::read(&input).unwrap());
        }
    }
}

/// A short run of what the fuzzer does, without its feedback: every target is alive in every `cargo test`.
#[test]
fn noise_breaks_no_promise() {
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let mut bytes: Vec<u8> = (0..1 + dice.below(150)).map(|_| u8::try_from(dice.below(256)).unwrap()).collect();
        for (_, target) in TARGETS {
            target(&bytes);
        }
        // Honest, and without the damages that end the story at once.
        bytes[0] &= 0x2f;
        bytes[1..].chunks_mut(12).for_each(|damage| damage[0] = [0, 1, 5][usize::from(damage[0] % 3)]);
        open_log(&bytes);
    }
}
