//! The table of functions: a line per overload, `function id signature`, a dot before the arguments marking those
//! that are called on their first argument. Single capitals are type parameters.

use super::{Compute, Function, Overload, authz, convert, core, format, formats, ip, lists, mutation};
use super::{optional, quantity, regex, sets, strings, time, url};
use crate::types::Type;
use std::collections::HashMap;
use std::sync::Arc;

const TABLE: &str = "
_?_:_ conditional (bool, A, A) -> A
_&&_ logical_and (bool, bool) -> bool
_||_ logical_or (bool, bool) -> bool
!_ logical_not (bool) -> bool
@not_strictly_false not_strictly_false (bool) -> bool
_==_ equals (A, A) -> bool
_!=_ not_equals (A, A) -> bool
_+_ add_bytes (bytes, bytes) -> bytes
_+_ add_double (double, double) -> double
_+_ add_duration_duration (duration, duration) -> duration
_+_ add_duration_timestamp (duration, timestamp) -> timestamp
_+_ add_timestamp_duration (timestamp, duration) -> timestamp
_+_ add_int64 (int, int) -> int
_+_ add_list (list(A), list(A)) -> list(A)
_+_ add_string (string, string) -> string
_+_ add_uint64 (uint, uint) -> uint
_/_ divide_double (double, double) -> double
_/_ divide_int64 (int, int) -> int
_/_ divide_uint64 (uint, uint) -> uint
_%_ modulo_int64 (int, int) -> int
_%_ modulo_uint64 (uint, uint) -> uint
_*_ multiply_double (double, double) -> double
_*_ multiply_int64 (int, int) -> int
_*_ multiply_uint64 (uint, uint) -> uint
-_ negate_double (double) -> double
-_ negate_int64 (int) -> int
_-_ subtract_double (double, double) -> double
_-_ subtract_duration_duration (duration, duration) -> duration
_-_ subtract_int64 (int, int) -> int
_-_ subtract_timestamp_duration (timestamp, duration) -> timestamp
_-_ subtract_timestamp_timestamp (timestamp, timestamp) -> duration
_-_ subtract_uint64 (uint, uint) -> uint
_[_] index_list (list(A), int) -> A
_[_] index_map (map(A, B), A) -> B
_[_] optional_list_index_int (optional(list(V)), int) -> optional(V)
_[_] optional_map_index_value (optional(map(K, V)), K) -> optional(V)
_[?_] list_optindex_optional_int (list(V), int) -> optional(V)
_[?_] optional_list_optindex_optional_int (optional(list(V)), int) -> optional(V)
_[?_] map_optindex_optional_value (map(K, V), K) -> optional(V)
_[?_] optional_map_optindex_optional_value (optional(map(K, V)), K) -> optional(V)
@in in_list (A, list(A)) -> bool
@in in_map (A, map(A, B)) -> bool
size size_bytes (bytes) -> int
size bytes_size .(bytes) -> int
size size_list (list(A)) -> int
size list_size .(list(A)) -> int
size size_map (map(A, B)) -> int
size map_size .(map(A, B)) -> int
size size_string (string) -> int
size string_size .(string) -> int
type type (A) -> type(A)
bool bool_to_bool (bool) -> bool
bool string_to_bool (string) -> bool
bytes bytes_to_bytes (bytes) -> bytes
bytes string_to_bytes (string) -> bytes
double double_to_double (double) -> double
double int64_to_double (int) -> double
double string_to_double (string) -> double
double uint64_to_double (uint) -> double
duration duration_to_duration (duration) -> duration
duration int64_to_duration (int) -> duration
duration string_to_duration (string) -> duration
dyn to_dyn (A) -> dyn
int int64_to_int64 (int) -> int
int double_to_int64 (double) -> int
int duration_to_int64 (duration) -> int
int string_to_int64 (string) -> int
int timestamp_to_int64 (timestamp) -> int
int uint64_to_int64 (uint) -> int
string string_to_string (string) -> string
string bool_to_string (bool) -> string
string bytes_to_string (bytes) -> string
string double_to_string (double) -> string
string duration_to_string (duration) -> string
string int64_to_string (int) -> string
string timestamp_to_string (timestamp) -> string
string uint64_to_string (uint) -> string
string ip_to_string (ip) -> string
string cidr_to_string (cidr) -> string
timestamp timestamp_to_timestamp (timestamp) -> timestamp
timestamp int64_to_timestamp (int) -> timestamp
timestamp string_to_timestamp (string) -> timestamp
uint uint64_to_uint64 (uint) -> uint
uint double_to_uint64 (double) -> uint
uint int64_to_uint64 (int) -> uint
uint string_to_uint64 (string) -> uint
contains contains_string .(string, string) -> bool
endsWith ends_with_string .(string, string) -> bool
startsWith starts_with_string .(string, string) -> bool
matches matches (string, string) -> bool
matches matches_string .(string, string) -> bool
getHours duration_to_hours .(duration) -> int
getMinutes duration_to_minutes .(duration) -> int
getSeconds duration_to_seconds .(duration) -> int
getMilliseconds duration_to_milliseconds .(duration) -> int
optional.of optional_of (V) -> optional(V)
optional.ofNonZeroValue optional_ofNonZeroValue (V) -> optional(V)
optional.none optional_none () -> optional(V)
optional.unwrap optional_unwrap (list(optional(V))) -> list(V)
unwrapOpt optional_unwrapOpt .(list(optional(V))) -> list(V)
value optional_value .(optional(V)) -> V
hasValue optional_hasValue .(optional(V)) -> bool
or optional_or_optional .(optional(V), optional(V)) -> optional(V)
orValue optional_orValue_value .(optional(V), V) -> V
first list_first .(list(V)) -> optional(V)
last list_last .(list(V)) -> optional(V)
cel.@mapInsert @mapInsert_map_key_value (map(K, V), K, V) -> map(K, V)
cel.@mapInsert @mapInsert_map_map (map(K, V), map(K, V)) -> map(K, V)
charAt string_char_at_int .(string, int) -> string
indexOf string_index_of_string .(string, string) -> int
indexOf string_index_of_string_int .(string, string, int) -> int
indexOf list_a_index_of_int .(list(A), A) -> int
lastIndexOf string_last_index_of_string .(string, string) -> int
lastIndexOf string_last_index_of_string_int .(string, string, int) -> int
lastIndexOf list_a_last_index_of_int .(list(A), A) -> int
lowerAscii string_lower_ascii .(string) -> string
upperAscii string_upper_ascii .(string) -> string
replace string_replace_string_string .(string, string, string) -> string
replace string_replace_string_string_int .(string, string, string, int) -> string
split string_split_string .(string, string) -> list(string)
split string_split_string_int .(string, string, int) -> list(string)
substring string_substring_int .(string, int) -> string
substring string_substring_int_int .(string, int, int) -> string
trim string_trim .(string) -> string
format string_format .(string, list(dyn)) -> string
strings.quote strings_quote (string) -> string
join list_join .(list(string)) -> string
join list_join_string .(list(string), string) -> string
slice list_slice .(list(T), int, int) -> list(T)
flatten list_flatten .(list(list(T))) -> list(T)
flatten list_flatten_int .(list(dyn), int) -> list(dyn)
lists.range lists_range (int) -> list(int)
reverse list_reverse .(list(T)) -> list(T)
distinct list_distinct .(list(T)) -> list(T)
sets.contains list_sets_contains_list (list(T), list(T)) -> bool
sets.equivalent list_sets_equivalent_list (list(T), list(T)) -> bool
sets.intersects list_sets_intersects_list (list(T), list(T)) -> bool
find string_find_string .(string, string) -> string
findAll string_find_all_string .(string, string) -> list(string)
findAll string_find_all_string_int .(string, string, int) -> list(string)
url string_to_url (string) -> url
isURL is_url_string (string) -> bool
getScheme url_get_scheme .(url) -> string
getHost url_get_host .(url) -> string
getHostname url_get_hostname .(url) -> string
getPort url_get_port .(url) -> string
getEscapedPath url_get_escaped_path .(url) -> string
getQuery url_get_query .(url) -> map(string, list(string))
ip string_to_ip (string) -> ip
ip cidr_ip .(cidr) -> ip
family ip_family .(ip) -> int
ip.isCanonical ip_is_canonical (string) -> bool
isUnspecified ip_is_unspecified .(ip) -> bool
isLoopback ip_is_loopback .(ip) -> bool
isLinkLocalMulticast ip_is_link_local_multicast .(ip) -> bool
isLinkLocalUnicast ip_is_link_local_unicast .(ip) -> bool
isGlobalUnicast ip_is_global_unicast .(ip) -> bool
isIP is_ip (string) -> bool
cidr string_to_cidr (string) -> cidr
containsIP cidr_contains_ip_string .(cidr, string) -> bool
containsIP cidr_contains_ip_ip .(cidr, ip) -> bool
containsCIDR cidr_contains_cidr_string .(cidr, string) -> bool
containsCIDR cidr_contains_cidr .(cidr, cidr) -> bool
prefixLength cidr_prefix_length .(cidr) -> int
masked cidr_masked .(cidr) -> cidr
isCIDR is_cidr (string) -> bool
quantity string_to_quantity (string) -> quantity
isQuantity is_quantity_string (string) -> bool
sign quantity_sign (quantity) -> int
isGreaterThan quantity_is_greater_than .(quantity, quantity) -> bool
isGreaterThan semver_is_greater_than .(semver, semver) -> bool
isLessThan quantity_is_less_than .(quantity, quantity) -> bool
isLessThan semver_is_less_than .(semver, semver) -> bool
compareTo quantity_compare_to .(quantity, quantity) -> int
compareTo semver_compare_to .(semver, semver) -> int
asApproximateFloat quantity_get_float .(quantity) -> double
asInteger quantity_get_int .(quantity) -> int
isInteger quantity_is_integer .(quantity) -> bool
add quantity_add .(quantity, quantity) -> quantity
add quantity_add_int .(quantity, int) -> quantity
sub quantity_sub .(quantity, quantity) -> quantity
sub quantity_sub_int .(quantity, int) -> quantity
semver string_to_semver (string) -> semver
semver string_bool_to_semver (string, bool) -> semver
isSemver is_semver_string (string) -> bool
isSemver is_semver_string_bool (string, bool) -> bool
major semver_major .(semver) -> int
minor semver_minor .(semver) -> int
patch semver_patch .(semver) -> int
validate format-validate .(format, string) -> optional(list(string))
format.dns1123Label format.dns1123Label () -> format
format.dns1123Subdomain format.dns1123Subdomain () -> format
format.dns1035Label format.dns1035Label () -> format
format.qualifiedName format.qualifiedName () -> format
format.dns1123LabelPrefix format.dns1123LabelPrefix () -> format
format.dns1123SubdomainPrefix format.dns1123SubdomainPrefix () -> format
format.dns1035LabelPrefix format.dns1035LabelPrefix () -> format
format.labelValue format.labelValue () -> format
format.uri format.uri () -> format
format.uuid format.uuid () -> format
format.byte format.byte () -> format
format.date format.date () -> format
format.datetime format.datetime () -> format
format.named format-named (string) -> optional(format)
jsonpatch.escapeKey string_jsonpatch_escapeKey_string (string) -> string
path authorizer_path .(authorizer, string) -> pathcheck
group authorizer_group .(authorizer, string) -> groupcheck
serviceAccount authorizer_serviceaccount .(authorizer, string, string) -> authorizer
resource groupcheck_resource .(groupcheck, string) -> resourcecheck
subresource resourcecheck_subresource .(resourcecheck, string) -> resourcecheck
namespace resourcecheck_namespace .(resourcecheck, string) -> resourcecheck
name resourcecheck_name .(resourcecheck, string) -> resourcecheck
fieldSelector authorizer_fieldselector .(resourcecheck, string) -> resourcecheck
labelSelector authorizer_labelselector .(resourcecheck, string) -> resourcecheck
check pathcheck_check .(pathcheck, string) -> decision
check resourcecheck_check .(resourcecheck, string) -> decision
errored decision_errored .(decision) -> bool
error decision_error .(decision) -> string
allowed decision_allowed .(decision) -> bool
reason decision_reason .(decision) -> string
";

/// Comparisons: operator and the word in its overloads' names.
const COMPARISONS: [(&str, &str); 4] = [
    ("_<_", "less"),
    ("_<=_", "less_equals"),
    ("_>_", "greater"),
    ("_>=_", "greater_equals"),
];
const COMPARED: [(&str, &str); 14] = [
    ("bool", "bool, bool"),
    ("int64", "int, int"),
    ("int64_double", "int, double"),
    ("int64_uint64", "int, uint"),
    ("uint64", "uint, uint"),
    ("uint64_double", "uint, double"),
    ("uint64_int64", "uint, int"),
    ("double", "double, double"),
    ("double_int64", "double, int"),
    ("double_uint64", "double, uint"),
    ("string", "string, string"),
    ("bytes", "bytes, bytes"),
    ("timestamp", "timestamp, timestamp"),
    ("duration", "duration, duration"),
];
const COMPARABLE: [&str; 8] = [
    "int",
    "uint",
    "double",
    "bool",
    "duration",
    "timestamp",
    "string",
    "bytes",
];
const SUMMABLE: [&str; 4] = ["int", "uint", "double", "duration"];
/// Parts of a time, and the word in their overloads' names.
const TIME_PARTS: [(&str, &str); 10] = [
    ("getFullYear", "year"),
    ("getMonth", "month"),
    ("getDayOfYear", "day_of_year"),
    ("getDayOfMonth", "day_of_month"),
    ("getDate", "day_of_month_1_based"),
    ("getDayOfWeek", "day_of_week"),
    ("getHours", "hours"),
    ("getMinutes", "minutes"),
    ("getSeconds", "seconds"),
    ("getMilliseconds", "milliseconds"),
];

pub(super) fn all() -> HashMap<&'static str, Function> {
    let mut all = HashMap::new();
    let mut lines: Vec<String> = Vec::new();
    for (name, part) in TIME_PARTS {
        lines.push(format!("{name} timestamp_to_{part} .(timestamp) -> int"));
        lines.push(format!(
            "{name} timestamp_to_{part}_with_tz .(timestamp, string) -> int"
        ));
    }
    lines.extend(TABLE.lines().filter(|l| !l.is_empty()).map(str::to_owned));
    for (operator, word) in COMPARISONS {
        for (types, args) in COMPARED {
            lines.push(format!("{operator} {word}_{types} ({args}) -> bool"));
        }
    }
    for ty in COMPARABLE {
        lines.push(format!("isSorted list_{ty}_is_sorted_bool .(list({ty})) -> bool"));
        lines.push(format!("max list_{ty}_max_{ty} .(list({ty})) -> {ty}"));
        lines.push(format!("min list_{ty}_min_{ty} .(list({ty})) -> {ty}"));
        let long = name_of(ty);
        lines.push(format!("sort list_{long}_sort .(list({ty})) -> list({ty})"));
        lines.push(format!(
            "@sortByAssociatedKeys list_{long}_sortByAssociatedKeys .(list(T), list({ty})) -> list(T)"
        ));
    }
    for ty in SUMMABLE {
        lines.push(format!("sum list_{ty}_sum_{ty} .(list({ty})) -> {ty}"));
    }
    // The table lives as long as the program; its names are shared by all that is compiled.
    for line in lines {
        declare(&mut all, Box::leak(line.into_boxed_str()));
    }
    all
}

fn name_of(ty: &str) -> &str {
    match ty {
        "duration" => "google.protobuf.Duration",
        "timestamp" => "google.protobuf.Timestamp",
        other => other,
    }
}

fn declare(all: &mut HashMap<&'static str, Function>, line: &'static str) {
    let mut words = line.splitn(3, ' ');
    let (Some(name), Some(id), Some(signature)) = (words.next(), words.next(), words.next()) else {
        return;
    };
    let Some((args, result)) = signature.split_once(" -> ") else {
        return;
    };
    let member = args.starts_with('.');
    let args = args.trim_start_matches('.');
    let mut params = Vec::new();
    let mut reader = Reader {
        rest: &args[1..args.len() - 1],
        params: &mut params,
    };
    let args = reader.types();
    reader.rest = result;
    let result = reader.ty();
    let overload = Overload {
        id,
        member,
        args,
        result,
        params,
    };
    all.entry(name)
        .or_insert_with(|| Function {
            name,
            overloads: Vec::new(),
            compute: compute(name),
        })
        .overloads
        .push(overload);
}

/// Reads the types of a signature.
struct Reader<'r> {
    rest: &'static str,
    params: &'r mut Vec<Arc<str>>,
}

impl Reader<'_> {
    fn types(&mut self) -> Vec<Type> {
        let mut types = Vec::new();
        while !self.rest.is_empty() && !self.rest.starts_with(')') {
            types.push(self.ty());
            self.rest = self.rest.trim_start_matches(", ");
        }
        types
    }

    fn ty(&mut self) -> Type {
        let end = self.rest.find(['(', ')', ',']).unwrap_or(self.rest.len());
        let word = &self.rest[..end];
        self.rest = &self.rest[end..];
        let mut inner = Vec::new();
        if let Some(rest) = self.rest.strip_prefix('(') {
            self.rest = rest;
            inner = self.types();
            self.rest = &self.rest[1..];
        }
        let mut inner = inner.into_iter();
        let mut next = || inner.next().unwrap_or_default();
        match word {
            "dyn" => Type::Dyn,
            "duration" => Type::Duration,
            "timestamp" => Type::Timestamp,
            "list" => Type::list(next()),
            "map" => Type::map(next(), next()),
            "optional" => Type::optional(next()),
            "type" => Type::type_of(next()),
            "ip" => Type::opaque("net.IP", Vec::new()),
            "cidr" => Type::opaque("net.CIDR", Vec::new()),
            "url" => Type::object("kubernetes.URL"),
            "quantity" => Type::object("kubernetes.Quantity"),
            "semver" => Type::object("kubernetes.Semver"),
            "format" => Type::object("kubernetes.NamedFormat"),
            "authorizer" => Type::object("kubernetes.authorization.Authorizer"),
            "pathcheck" => Type::object("kubernetes.authorization.PathCheck"),
            "groupcheck" => Type::object("kubernetes.authorization.GroupCheck"),
            "resourcecheck" => Type::object("kubernetes.authorization.ResourceCheck"),
            "decision" => Type::object("kubernetes.authorization.Decision"),
            other => super::type_named(other).unwrap_or_else(|| self.param(other)),
        }
    }

    fn param(&mut self, name: &str) -> Type {
        let known = self.params.iter().find(|p| &***p == name).cloned();
        let name = known.unwrap_or_else(|| {
            self.params.push(name.into());
            name.into()
        });
        Type::Param(name)
    }
}

fn compute(name: &str) -> Compute {
    match name {
        "_+_" | "_-_" | "_*_" | "_/_" | "_%_" => core::arithmetic,
        "_<_" | "_<=_" | "_>_" | "_>=_" => core::order,
        "-_" => core::negate,
        "!_" => core::not,
        "@in" => core::contains,
        "size" => core::size,
        "type" | "dyn" | "bool" | "bytes" | "double" | "int" | "uint" | "string" | "duration"
        | "timestamp" => convert::convert,
        "contains" | "startsWith" | "endsWith" | "charAt" | "lowerAscii" | "upperAscii" | "replace"
        | "split" | "substring" | "trim" | "strings.quote" | "join" => strings::compute,
        "indexOf" | "lastIndexOf" => strings::index,
        "format" => format::compute,
        "matches" | "find" | "findAll" => regex::compute,
        "slice"
        | "flatten"
        | "lists.range"
        | "reverse"
        | "distinct"
        | "sort"
        | "@sortByAssociatedKeys"
        | "isSorted"
        | "sum"
        | "min"
        | "max" => lists::compute,
        "sets.contains" | "sets.equivalent" | "sets.intersects" => sets::compute,
        "url" | "isURL" | "getScheme" | "getHost" | "getHostname" | "getPort" | "getEscapedPath"
        | "getQuery" => url::compute,
        "ip"
        | "family"
        | "ip.isCanonical"
        | "isUnspecified"
        | "isLoopback"
        | "isLinkLocalMulticast"
        | "isLinkLocalUnicast"
        | "isGlobalUnicast"
        | "isIP"
        | "cidr"
        | "containsIP"
        | "containsCIDR"
        | "prefixLength"
        | "masked"
        | "isCIDR" => ip::compute,
        "quantity" | "isQuantity" | "sign" | "isGreaterThan" | "isLessThan" | "compareTo"
        | "asApproximateFloat" | "asInteger" | "isInteger" | "add" | "sub" | "semver" | "isSemver"
        | "major" | "minor" | "patch" => quantity::compute,
        "validate" | "format.named" => formats::compute,
        "jsonpatch.escapeKey" => mutation::escape_key,
        "cel.@mapInsert" => core::map_insert,
        "path" | "group" | "serviceAccount" | "resource" | "subresource" | "namespace" | "name"
        | "fieldSelector" | "labelSelector" | "check" | "errored" | "error" | "allowed" | "reason" => {
            authz::compute
        }
        name if name.starts_with("get") => time::parts,
        _ => optional::compute,
    }
}
