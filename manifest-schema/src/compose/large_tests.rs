//! Inputs so large that a step of the wrong order would take minutes.

use super::syntax_tests::try_read;

#[test]
fn mistakes_beside_a_hundred_thousand_names_are_told_at_once() {
    let env: String = (0..100_000).map(|n| format!("VARIABLE_NUMBER_{n}=x\n")).collect();
    let begun = std::time::Instant::now();
    let wrong: String = (0..120).map(|n| format!("Z{n}_KEY=$VARIABLE_NUMBRE_{n}\n")).collect();
    let error = crate::compose::parse_dotenv(".env", &format!("{env}{wrong}")).unwrap_err();
    assert_eq!(error.0.len(), 100);
    // Each of them was compared with each name, for a minute.
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[test]
fn services_that_all_wait_for_each_other_are_put_in_order_at_once() {
    let services: String = (0..600)
        .map(|n| {
            let needs: Vec<String> = (n.max(300) - 300..n).map(|need| format!("s{need}")).collect();
            format!("  s{n}: {{ image: a, depends_on: [{}] }}\n", needs.join(","))
        })
        .collect();
    let begun = std::time::Instant::now();
    let parsed = try_read(&format!("services:\n{services}"), &[], &[]).unwrap();
    assert_eq!(parsed.project.services.len(), 600);
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}
