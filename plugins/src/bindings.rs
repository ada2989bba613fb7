//! Typed calls across the boundary, generated from `wit/transform.wit`. Records go in by reference, without a copy.

#![allow(unreachable_pub, missing_debug_implementations, clippy::all, clippy::pedantic)]

wasmtime::component::bindgen!({
    path: "wit",
    world: "transform",
    ownership: Borrowing { duplicate_if_necessary: false },
});
