//! Turns a core module, into which `wit-bindgen` wrote its world, into a component: `componentize MODULE COMPONENT`.
//! The same as `wasm-tools component new MODULE -o COMPONENT`, for those who have no wasm-tools.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use wit_component::ComponentEncoder;

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [module, component] = paths.as_slice() else {
        return Err("usage: componentize MODULE COMPONENT".into());
    };
    let module = fs::read(module).map_err(|error| format!("{}: {error}", module.display()))?;
    let bytes = ComponentEncoder::default().validate(true).module(&module)?.encode()?;
    fs::write(component, bytes).map_err(|error| format!("{}: {error}", component.display()))?;
    Ok(())
}
