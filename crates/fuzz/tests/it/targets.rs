//! One test for each target, so that one that fails is seen by its name.

fn rounds(name: &str) {
    let target = corten_fuzz::ALL
        .iter()
        .find(|target| target.name == name)
        .unwrap();
    corten_fuzz::run(target, corten_fuzz::rounds(), 36);
}

macro_rules! targets {
    ($($test:ident $name:literal)*) => {
        $(#[test] fn $test() { rounds($name); })*

        #[test]
        fn none_is_left_out() {
            let tested = [$($name),*];
            assert!(corten_fuzz::ALL.iter().all(|target| tested.contains(&target.name)));
        }
    };
}

targets! {
    json "json"
    yaml "yaml"
    protobuf "protobuf"
    labels "labels"
    fields "fields"
    quantities "quantity"
    times "time"
    api_versions "api-version"
    json_patches "json-patch"
    strategic_patches "strategic"
    spoiled_values "values"
}

/// The same seed gives the same input.
#[test]
fn rounds_can_be_repeated() {
    let corpus = vec![b"{\"a\": [1, 2]}".to_vec()];
    let input = |seed| corten_fuzz::bytes(&mut corten_fuzz::Random::new(seed), &corpus);
    assert_eq!(input(1), input(1));
    let differ = (0..50).filter(|seed| input(*seed) != corpus[0]).count();
    assert!(differ > 25, "only {differ} of 50 are spoiled");
}
