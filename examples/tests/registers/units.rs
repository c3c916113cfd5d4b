//! The register of units and agencies.

use examples::registers::units;
use serde_json::json;
use tonic::Code;

use super::Register;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_code_stands_for_depends_on_the_day() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = units::create(directory.path()).await.unwrap();
    let register = Register::serve(directory, &configuration, units::SERVICE).await;
    let name = async |code: &str, on: &str| {
        let found = register
            .ask("FindProvinceOfNumber", json!({ "code": code, "on": on }))
            .await;
        found.map(|found| found["name"].as_str().unwrap().to_owned())
    };
    assert_eq!(name("024", "2025-06-30").await.unwrap(), "Bắc Giang");
    assert_eq!(name("024", "2025-07-01").await.unwrap(), "Bắc Ninh");
    assert_eq!(name("027", "2025-06-30").await.unwrap(), "Bắc Ninh");
    for (code, on) in [("027", "2025-07-01"), ("003", "2025-06-30")] {
        assert_eq!(name(code, on).await.unwrap_err().code(), Code::NotFound);
    }
    let agency = async |code: &str| {
        let found = register.ask("FindAgency", json!({ "code": code })).await;
        found.map(|found| found["code"].as_str().unwrap().to_owned())
    };
    for code in ["H37.02", "000.02.37.H37", "00.02.H37"] {
        assert_eq!(agency(code).await.unwrap(), "H37.02");
    }
    assert_eq!(agency("02.H37").await.unwrap_err().code(), Code::NotFound);
    let codes = register
        .list("ListAgencyCodes", json!({ "code": "H37.02" }))
        .await;
    assert_eq!(
        codes,
        [
            json!({ "code": "00.02.H37" }),
            json!({ "code": "000.02.37.H37" })
        ]
    );
}
