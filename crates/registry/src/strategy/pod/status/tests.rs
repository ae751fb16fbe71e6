//! Wrong statuses of pods, with the texts of upstream's server.

use serde_json::json;

use super::*;

/// Of a pod with a container `c` and an ephemeral one.
#[allow(clippy::needless_pass_by_value)]
fn said(status: Value) -> Vec<String> {
    let resources = json!({
        "requests": {"cpu": "1", "example.com/gpu": "1"},
        "claims": [{"name": "one"}, {"name": "two", "request": "r"}],
    });
    let spec = json!({
        "containers": [{"name": "c", "resources": resources}],
        "resourceClaims": [{"name": "one"}],
    });
    let old = json!({"spec": spec, "status": {}});
    let errors = validate_update(&json!({"spec": spec, "status": status}), &old);
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn users_have_ids() {
    let range = "must be between 0 and 2147483647, inclusive";
    for list in [
        "containerStatuses",
        "initContainerStatuses",
        "ephemeralContainerStatuses",
    ] {
        let linux = json!({"uid": -1, "gid": 2_147_483_648_i64, "supplementalGroups": [0, -2]});
        let at = format!("status.{list}[0].user.linux");
        assert_eq!(
            said(json!({list: [{"name": "c", "user": {"linux": linux}}]})),
            [
                format!("{at}.uid: Invalid value: -1: {range}"),
                format!("{at}.gid: Invalid value: 2147483648: {range}"),
                format!("{at}.supplementalGroups[1]: Invalid value: -2: {range}"),
            ]
        );
    }
}

#[test]
fn devices_are_of_resources_that_are_asked_for() {
    let of = |list: &str, devices: Value| {
        said(json!({list: [{"name": "c", "allocatedResourcesStatus": devices}]}))
    };
    let good = json!([{"name": "example.com/gpu"}, {"name": "claim:one"}, {"name": "claim:two/r"}]);
    assert!(of("containerStatuses", good.clone()).is_empty());
    assert!(of("initContainerStatuses", json!([{"name": "any"}])).is_empty());
    let at = "status.containerStatuses[0].allocatedResourcesStatus";
    let devices = json!([{"resourceID": "a", "health": "Healthy"}, {"resourceID": "a", "health": "Ill"}]);
    assert_eq!(
        of(
            "containerStatuses",
            json!([{"name": "x", "resources": devices}, {"name": "claim:two"}])
        ),
        [
            format!(
                "{at}[0].name: Invalid value: \"x\": must match one of the container's resource requests"
            ),
            format!(
                "{at}[0].resources[1].health: Unsupported value: \"Ill\": supported values: \"Healthy\", \"Unhealthy\", \
                 \"Unknown\""
            ),
            format!("{at}[0].resources[1].resourceID: Duplicate value: \"a\""),
            format!(
                "{at}[1].name: Invalid value: \"claim:two\": must match one of the container's resource claims in a format \
                 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty"
            ),
        ]
    );
    assert_eq!(
        of("ephemeralContainerStatuses", good),
        [
            "status.ephemeralContainerStatuses[0].allocatedResourcesStatus: Forbidden: must not be specified in container \
             status"
        ]
    );
}

#[test]
fn extended_resources_are_mapped_to_requests() {
    let at = "status.extendedResourceClaimStatus";
    assert_eq!(
        said(json!({"extendedResourceClaimStatus": {}})),
        [
            format!("{at}.requestMappings: Required value: at least one request mapping is required"),
            format!("{at}.resourceClaimName: Required value"),
        ]
    );
    let of = |container: &str, resource: &str| json!({"containerName": container, "resourceName": resource, "requestName": "r"});
    let gpu = of("c", "example.com/gpu");
    let claim = |mappings: Value| json!({"extendedResourceClaimStatus": {"requestMappings": mappings, "resourceClaimName": "x"}});
    assert!(said(claim(json!([gpu]))).is_empty());
    assert_eq!(
        said(claim(json!([
            gpu,
            gpu,
            of("d", "cpu"),
            of("c", "example.com/tpu")
        ]))),
        [
            format!("{at}.requestMappings[1].containerName: Duplicate value: \"c\""),
            format!("{at}.requestMappings[1].resourceName: Duplicate value: \"example.com/gpu\""),
            format!("{at}.requestMappings[1].requestName: Duplicate value: \"r\""),
            format!(
                "{at}.requestMappings[2].containerName: Invalid value: \"d\": must match the name of an entry in \
                 spec.initContainers.name or spec.containers.name"
            ),
            format!(
                "{at}.requestMappings[3].resourceName: Invalid value: \"example.com/tpu\": must match the extended resource \
                 name of an entry in spec.initContainers.resources.requests or spec.containers.resources.requests"
            ),
        ]
    );
    let mut named = gpu;
    named["requestName"] = json!("A");
    let said = said(claim(json!([named])));
    assert!(
        said[0].starts_with(&format!("{at}.requestName: Invalid value: \"A\": ")),
        "{said:?}"
    );
}

#[test]
fn a_wrong_name_of_a_claim_is_told_at_the_other_field() {
    let said = said(json!({"resourceClaimStatuses": [{"name": "one", "resourceClaimName": "A"}]}));
    let start = "status.resourceClaimStatuses[0].name: Invalid value: \"A\": ";
    assert!(said[0].starts_with(start), "{said:?}");
}

#[test]
fn addresses_that_cannot_be_read_are_of_no_family() {
    let ips = json!([{"ip": "10.0.0.1"}, {"ip": "x"}]);
    assert_eq!(
        said(json!({"hostIP": "10.0.0.1", "hostIPs": ips})),
        [
            "status.hostIPs[1]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            "status.hostIPs: Internal error: failed to check for dual stack with error:invalid IP[1]: x",
            "status.hostIPs: Invalid value: [{\"IP\":\"10.0.0.1\"},{\"IP\":\"x\"}]: may specify no more than one IP for \
             each IP family",
        ]
    );
}
