//! Reads the embedded table into the model. Its form is codegen's: what does not resolve is left out, and the golden
//! tests show it.

use std::collections::HashMap;

use super::shape::{Element, Kind, Shape, Special};
use super::{Enum, Field, ListType, Package, Rules, Tables, Type, TypeId};

const TABLE: &str = include_str!("../generated/types.tsv");
const META: &str = "apimachinery/pkg/apis/meta/v1";

type Name = (u16, &'static str);
type Line = Vec<&'static str>;

/// A struct while its lines are read.
struct Draft {
    package: u16,
    name: &'static str,
    flags: &'static str,
    fields: Vec<Line>,
}

#[derive(Default)]
struct Names {
    packages: Vec<Package>,
    structs: Vec<Draft>,
    by_name: HashMap<Name, TypeId>,
    aliases: HashMap<Name, &'static str>,
    enums: Vec<Enum>,
    enums_by_name: HashMap<Name, usize>,
}

fn read() -> Names {
    let mut names = Names::default();
    for line in TABLE.lines() {
        let f: Line = line.split('\t').collect();
        let package = names.packages.len().wrapping_sub(1) as u16;
        match f[0] {
            "P" => names.packages.push(Package {
                path: f[1],
                group: f[2],
                version: f[3],
            }),
            "T" => {
                names
                    .by_name
                    .insert((package, f[1]), TypeId(names.structs.len() as u16));
                names.structs.push(Draft {
                    package,
                    name: f[1],
                    flags: f[2],
                    fields: Vec::new(),
                });
            }
            "A" => drop(names.aliases.insert((package, f[1]), f[2])),
            "E" => {
                let values = f[3].split(',').collect::<Vec<_>>().leak();
                names.enums_by_name.insert((package, f[1]), names.enums.len());
                names.enums.push(Enum {
                    closed: f[2] == "c",
                    values,
                });
            }
            "F" => names
                .structs
                .last_mut()
                .into_iter()
                .for_each(|s| s.fields.push(f.clone())),
            _ => {}
        }
    }
    names
}

impl Names {
    fn shape(&self, expr: &'static str) -> Option<Shape> {
        let (pointer, bare) = match expr.strip_prefix('*') {
            Some(bare) => (true, bare),
            None => (false, expr),
        };
        Some(Shape {
            kind: self.kind(bare, false)?,
            pointer,
            expr,
        })
    }

    fn kind(&self, expr: &'static str, named: bool) -> Option<Kind> {
        Some(match expr {
            "string" | "types.UID" | "types.NodeName" => Kind::String,
            "bool" => Kind::Bool,
            "int32" | "int" | "uint32" => Kind::Int32,
            "int64" | "uint64" | "Duration" => Kind::Int64,
            "float64" => Kind::Float64,
            "[]byte" => Kind::Bytes,
            _ => return self.compound(expr, named),
        })
    }

    fn compound(&self, expr: &'static str, named: bool) -> Option<Kind> {
        if let Some(element) = expr.strip_prefix("[]") {
            let shape = self.shape(element)?;
            return Some(Kind::List(Box::leak(Box::new(Element { shape, named }))));
        }
        if let Some((_, value)) = expr.strip_prefix("map[").and_then(|rest| rest.split_once(']')) {
            let shape = self.shape(value)?;
            return Some(Kind::Map(Box::leak(Box::new(Element { shape, named: false }))));
        }
        let (index, name) = expr.split_once('.')?;
        let index: u16 = index.parse().ok()?;
        if let Some(special) = Special::of(self.packages[usize::from(index)].path, name) {
            return Some(Kind::Special(special));
        }
        match self.by_name.get(&(index, name)) {
            Some(id) => Some(Kind::Struct(*id)),
            None => self.kind(self.aliases.get(&(index, name))?, true),
        }
    }

    fn field(&self, f: &Line) -> Option<Field> {
        let flag = |c| f[4].contains(c);
        Some(Field {
            name: f[1],
            shape: self.shape(f[2])?,
            number: f[3].parse().unwrap_or(0),
            omitempty: flag('o'),
            optional: flag('p'),
            required: flag('r'),
            inline: flag('i'),
            keeps_empty: false,
            through: "",
            repeated: flag('w'),
            rules: rules(f),
        })
    }
}

static PLAIN: Rules = Rules {
    list_type: ListType::Unset,
    list_keys: &[],
    map_atomic: false,
    struct_atomic: false,
    granular: false,
    patch_merge: false,
    patch_replace: false,
    patch_retain_keys: false,
    patch_merge_key: "",
    default: "",
    feature_gates: "",
};

fn rules(f: &Line) -> &'static Rules {
    let rules = Rules {
        list_type: match f[5] {
            "atomic" => ListType::Atomic,
            "set" => ListType::Set,
            "map" => ListType::Map,
            _ => ListType::Unset,
        },
        list_keys: if f[6].is_empty() {
            &[]
        } else {
            f[6].split(',').collect::<Vec<_>>().leak()
        },
        map_atomic: f[7] == "atomic",
        struct_atomic: f[4].contains('a'),
        granular: f[4].contains('g') || f[7] == "granular",
        patch_replace: f[8] == "replace",
        patch_merge: f[8].split(',').any(|s| s == "merge"),
        patch_retain_keys: f[8].split(',').any(|s| s == "retainKeys"),
        patch_merge_key: f[9],
        default: f[10],
        feature_gates: f[11],
    };
    if rules == PLAIN {
        &PLAIN
    } else {
        Box::leak(Box::new(rules))
    }
}

/// Own members of every struct, then the flattened view of each.
pub(super) fn tables() -> Tables {
    let mut names = read();
    let own: Vec<Vec<Field>> = names
        .structs
        .iter()
        .map(|s| {
            s.fields
                .iter()
                .filter_map(|f| names.field(f))
                .filter(|f| f.name != "-")
                .collect()
        })
        .collect();
    let packages: &'static [Package] = std::mem::take(&mut names.packages).leak();
    let types: Vec<Type> = names
        .structs
        .iter()
        .zip(&own)
        .map(|(s, fields)| assemble(s, fields, &own, packages))
        .collect();
    let (mut kinds, mut meta_kinds) = (HashMap::new(), HashMap::new());
    for (i, t) in types
        .iter()
        .enumerate()
        .filter(|(_, t)| t.is_kind || t.package.path == META)
    {
        if t.package.path == META {
            meta_kinds.insert(t.name, TypeId(i as u16));
        } else {
            kinds.insert((t.package.group, t.package.version, t.name), TypeId(i as u16));
        }
    }
    meta_kinds.retain(|name, id: &mut TypeId| types[usize::from(id.0)].is_kind || *name == "WatchEvent");
    let Names {
        by_name,
        enums,
        enums_by_name,
        ..
    } = names;
    Tables {
        types,
        packages,
        by_name,
        enums,
        enums_by_name,
        kinds,
        meta_kinds,
    }
}

fn assemble(draft: &Draft, own: &[Field], all: &[Vec<Field>], packages: &'static [Package]) -> Type {
    let mut declared = Vec::new();
    flatten(own, all, "", &mut declared);
    let mut fields = declared.clone();
    for field in &mut fields {
        field.keeps_empty = keeps_empty(draft.name, field.name, packages[usize::from(draft.package)].path);
    }
    fields.sort_by_key(|f| f.name);
    let place = |name: &str| fields.iter().position(|f| f.name == name).unwrap_or(0) as u16;
    let declared: Vec<u16> = declared.iter().map(|f| place(f.name)).collect();
    let mut wire: Vec<Field> = own.iter().filter(|f| f.number > 0).copied().collect();
    wire.sort_by_key(|f| f.number);
    let always = (0..fields.len())
        .filter(|i| writes_zero(&fields[*i]))
        .map(|i| i as u16)
        .collect::<Vec<_>>();
    Type {
        name: draft.name,
        expr: String::leak(format!("{}.{}", draft.package, draft.name)),
        package: &packages[usize::from(draft.package)],
        is_kind: draft.flags.contains('k'),
        atomic: draft.flags.contains('a'),
        fields: fields.leak(),
        wire: wire.leak(),
        always: always.leak(),
        declared: declared.leak(),
    }
}

/// Lists that must not be empty where that differs from none: policies would be defaulted, exit codes are shown as given.
const KEEP_EMPTY: [(&str, &str, &str); 2] = [
    ("api/autoscaling/v2", "HPAScalingRules", "policies"),
    ("api/batch/v1", "PodFailurePolicyOnExitCodesRequirement", "values"),
];

fn keeps_empty(owner: &str, name: &str, package: &str) -> bool {
    KEEP_EMPTY.contains(&(package, owner, name))
}

/// `encoding/json` leaves an empty value out only with omitempty, and a struct never counts as empty. The one field with
/// omitzero is ObjectMeta's creationTimestamp.
fn writes_zero(field: &Field) -> bool {
    let structure = matches!(field.shape.kind, Kind::Struct(_) | Kind::Special(_)) && !field.shape.pointer;
    !field.omitempty || (structure && field.name != "creationTimestamp")
}

fn flatten(own: &[Field], all: &[Vec<Field>], through: &'static str, out: &mut Vec<Field>) {
    for field in own {
        match field.shape.kind {
            Kind::Struct(id) if field.inline => {
                flatten(&all[usize::from(id.0)], all, step_into(through, field), out);
            }
            _ => out.push(Field { through, ..*field }),
        }
    }
}

/// An inlined struct is a field of its type's name.
fn step_into(through: &str, field: &Field) -> &'static str {
    let name = field.shape.expr.rsplit('.').next().unwrap_or_default();
    match through {
        "" => String::leak(name.to_owned()),
        through => String::leak(format!("{through}.{name}")),
    }
}
