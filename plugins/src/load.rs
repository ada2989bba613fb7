//! From a file to a component that is known to be a plugin.

use std::fs;
use std::path::{Path, PathBuf};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::guest::{BoxError, Linker, Pre};

/// A plugin larger than this is a mistake. Python and JavaScript guests reach 20 MB.
const FILE_BYTES_MAX: u64 = 256 << 20;
const EXPORT: &str = "process";
const CORE_HEADER: &[u8] = b"\0asm\x01\0\0\0";
const MAGIC: &[u8] = b"\0asm";

/// Why a plugin was not taken. Each text says what to do; the cause is in the source.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("plugin `{path}`: cannot be read; check `path` and the file's permissions")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("plugin `{path}`: has {bytes} bytes; at most {FILE_BYTES_MAX} are allowed")]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error(
        "plugin `{path}`: has sha256 {actual}, but the configuration pins {pinned}; put the pinned file back, or change \
         `sha256` if the new file is meant"
    )]
    PinMismatch { path: PathBuf, pinned: String, actual: String },
    #[error("plugin `{path}`: is not WebAssembly: it does not begin with `\\0asm`; name a compiled component")]
    NotWasm { path: PathBuf },
    #[error(
        "plugin `{path}`: is a core module, not a component; make it one with \
         `wasm-tools component new {path} -o plugin.wasm`, or see examples/plugins/README.md"
    )]
    CoreModule { path: PathBuf },
    #[error(
        "plugin `{path}`: does not export `{EXPORT}` of the world `hydrant:transform/transform@0.1.0`; it exports \
         {exports}; build it against plugins/wit/transform.wit"
    )]
    MissingExport { path: PathBuf, exports: String },
    #[error(
        "plugin `{path}`: imports {imports}, which a plugin is not given; only `hydrant:transform/host@0.1.0` is there, \
         no WASI: build for wasm32-unknown-unknown"
    )]
    UnknownImport { path: PathBuf, imports: String },
    #[error(
        "plugin `{path}`: does not fit the world `hydrant:transform/transform@0.1.0`; build it against \
         plugins/wit/transform.wit"
    )]
    WrongWorld { path: PathBuf, source: BoxError },
    #[error("plugin `{path}`: cannot be compiled; the file is damaged or uses a proposal that is not supported")]
    Compile { path: PathBuf, source: BoxError },
    #[error("plugin `{path}`: does not start under its limits; raise `memory` or `cpu_per_batch`")]
    Start { path: PathBuf, source: BoxError },
}

/// The bytes of what claims to be a component.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let unreadable = |source| LoadError::Unreadable { path: path.to_owned(), source };
    let bytes = fs::metadata(path).map_err(unreadable)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(LoadError::TooLarge { path: path.to_owned(), bytes });
    }
    fs::read(path).map_err(unreadable)
}

pub(crate) fn check_pin(path: &Path, pinned: Option<[u8; 32]>, actual: [u8; 32]) -> Result<(), LoadError> {
    match pinned {
        Some(pinned) if pinned != actual => Err(LoadError::PinMismatch {
            path: path.to_owned(),
            pinned: hex::encode(pinned),
            actual: hex::encode(actual),
        }),
        _ => Ok(()),
    }
}

pub(crate) fn check_kind(path: &Path, bytes: &[u8]) -> Result<(), LoadError> {
    if bytes.starts_with(CORE_HEADER) {
        return Err(LoadError::CoreModule { path: path.to_owned() });
    }
    if !bytes.starts_with(MAGIC) {
        return Err(LoadError::NotWasm { path: path.to_owned() });
    }
    Ok(())
}

/// Checks exports before imports: a component of another kind is told so, not that it lacks WASI.
pub(crate) fn check_world(path: &Path, component: &Component, linker: &Linker) -> Result<Pre, LoadError> {
    let engine = component.engine();
    if component.component_type().get_export(engine, EXPORT).is_none() {
        return Err(LoadError::MissingExport { path: path.to_owned(), exports: exports(component, engine) });
    }
    let unknown: Vec<String> = component
        .component_type()
        .imports(engine)
        .filter(|(name, _)| !name.starts_with("hydrant:transform/"))
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    if !unknown.is_empty() {
        return Err(LoadError::UnknownImport { path: path.to_owned(), imports: unknown.join(", ") });
    }
    let wrong_world = |error: wasmtime::Error| LoadError::WrongWorld { path: path.to_owned(), source: error.into() };
    Pre::new(linker.instantiate_pre(component).map_err(wrong_world)?).map_err(wrong_world)
}

fn exports(component: &Component, engine: &Engine) -> String {
    let names: Vec<String> = component.component_type().exports(engine).map(|(name, _)| format!("`{name}`")).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
