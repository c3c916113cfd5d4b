//! What `adapter --help` prints can be used as it is printed.

use std::process::Command;

use adapters::Configuration;

use crate::harness::text;

#[test]
fn the_example_in_the_help_is_a_configuration() {
    for columns in ["40", "80", "200"] {
        let help = Command::new(env!("CARGO_BIN_EXE_adapter"))
            .arg("--help")
            .env("COLUMNS", columns)
            .output()
            .unwrap();
        let help = text(&help.stdout);
        let start = help.find("# One adapter").unwrap();
        let parsed = Configuration::parse("/etc/adapter/example.toml".as_ref(), &help[start..]);
        assert!(parsed.is_ok(), "{columns}: {:?}", parsed.unwrap_err());
    }
}
