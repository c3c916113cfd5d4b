//! Golden vectors: inputs are read from a committed file, outputs computed and compared with it.
//!
//! `LIENTHONG_WRITE_VECTORS=1 cargo test -p trust` writes the outputs anew after a change of an
//! input; a difference in review is a change of the format.

use std::{fs, path::PathBuf};

use serde_json::Value;

/// Computes the output of each case of `tests/vectors/NAME.json` and compares it with the file.
///
/// `compute` gets what all cases share and the input of the case. It may complete the input (a
/// signature that is not deterministic) only while the file is being written.
pub fn check(name: &str, mut compute: impl FnMut(&Value, &mut Value) -> Value) {
    let path = path(name);
    let committed = fs::read_to_string(&path).unwrap();
    let mut file: Value = serde_json::from_str(&committed).unwrap();
    let shared = file.get("shared").cloned().unwrap_or_default();
    let cases = file["cases"].as_array_mut().unwrap();
    assert!(!cases.is_empty(), "{name} has no cases");
    for case in cases {
        let output = compute(&shared, &mut case["input"]);
        if !writing() {
            assert_eq!(case["output"], output, "{name}: {}", case["description"]);
        }
        case["output"] = output;
    }
    let text = serde_json::to_string_pretty(&file).unwrap() + "\n";
    if writing() {
        fs::write(&path, text).unwrap();
    } else {
        assert!(text == committed, "{name}: the file is not in its own form");
    }
}

/// The cases of a file that a test only reads.
pub fn read(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path(name)).unwrap()).unwrap()
}

/// Whether the files are being written anew.
pub fn writing() -> bool {
    std::env::var_os("LIENTHONG_WRITE_VECTORS").is_some()
}

fn path(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    folder.join(format!("{name}.json"))
}
