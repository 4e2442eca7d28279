//! Every shader variant expands, is valid WGSL and agrees with the Rust side about parameters.
#![cfg(feature = "wgpu")]

use std::collections::BTreeSet;

use coppice::{
    backend::wgpu::{
        kernels::PARAMS,
        shader::{self, Defines, Expanded},
    },
    ops::Op,
};
use naga::valid::{Capabilities, ValidationFlags, Validator};

const PERMUTATIONS: &str = include_str!("../shaders/permutations");

/// How parameters reach the shader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passing {
    Immediates,
    Uniform,
}

fn permutations() -> impl Iterator<Item = (&'static str, Defines)> {
    PERMUTATIONS.lines().filter(|l| !l.starts_with('#')).map(|line| {
        let mut words = line.split(' ');
        let shader = words.next().expect("a line begins with its shader");
        let defines = words.map(|word| {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            (name.to_string(), value.to_string())
        });
        (shader, defines.collect())
    })
}

/// Every `<NAME>_ACCESS` in any file, all `read_write`: the widest that the planner chooses.
fn with_access(mut defines: Defines, passing: Passing) -> Defines {
    for (_, text) in shader::FILES {
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            if word.ends_with("_ACCESS") {
                defines.insert(word.into(), "read_write".into());
            }
        }
    }
    if passing == Passing::Immediates {
        defines.insert("IMMEDIATES".into(), String::new());
    }
    defines
}

fn module(shader: &str, defines: &Defines) -> (Expanded, naga::Module) {
    let expanded = shader::expand(shader, defines).expect("the variant expands");
    match naga::front::wgsl::parse_str(&expanded.text) {
        Ok(module) => (expanded, module),
        Err(error) => {
            let line = error.location(&expanded.text).map_or(1, |l| l.line_number);
            let (file, line) = expanded.origin(line);
            panic!("{shader} {defines:?}: shaders/{file}.wgsl:{line}: {}", error.message());
        }
    }
}

#[test]
fn every_variant_is_valid_with_the_least_capabilities() {
    for passing in [Passing::Immediates, Passing::Uniform] {
        for (shader, defines) in permutations() {
            // unpack2x16float belongs to WebGPU itself.
            let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
            if passing == Passing::Immediates {
                capabilities |= Capabilities::IMMEDIATES;
            }
            if defines.contains_key("BROADCAST") {
                capabilities |= Capabilities::SUBGROUP;
            }
            let defines = with_access(defines, passing);
            let (expanded, module) = module(shader, &defines);
            let valid = Validator::new(ValidationFlags::all(), capabilities).validate(&module);
            if let Err(error) = valid {
                let line = error.location(&expanded.text).map_or(1, |l| l.line_number);
                let (file, line) = expanded.origin(line);
                panic!(
                    "{shader} {defines:?}: shaders/{file}.wgsl:{line}: {}",
                    error.emit_to_string(&expanded.text)
                );
            }
            let entries: Vec<_> = module.entry_points.iter().map(|e| e.name.as_str()).collect();
            assert_eq!(entries, ["main"], "{shader}");
        }
    }
}

#[test]
fn parameter_structs_agree_with_rust() {
    for (shader, defines) in permutations() {
        let fields = PARAMS.iter().find(|(name, _)| *name == shader).expect("listed in PARAMS").1;
        let (_, module) = module(shader, &with_access(defines, Passing::Uniform));
        let (_, ty) = module
            .types
            .iter()
            .find(|(_, ty)| ty.name.as_deref() == Some("Params"))
            .expect("a shader has a struct Params");
        let naga::TypeInner::Struct { members, span } = &ty.inner else {
            panic!("{shader}: Params is no struct");
        };
        let seen: Vec<_> = members
            .iter()
            .map(|m| {
                let name = m.name.clone().expect("fields have names");
                let kind = match module.types[m.ty].inner {
                    naga::TypeInner::Scalar(naga::Scalar::U32) => "u32",
                    naga::TypeInner::Scalar(naga::Scalar::F32) => "f32",
                    ref other => panic!("{shader}: field {name} is {other:?}"),
                };
                (name, kind, m.offset)
            })
            .collect();
        let wanted: Vec<_> = (0u32..)
            .zip(fields)
            .map(|(i, (name, kind))| (name.to_string(), *kind, 4 * i))
            .collect();
        assert_eq!(seen, wanted, "{shader}");
        assert_eq!(*span as usize, 4 * fields.len(), "{shader}");
        assert!(*span <= 128, "{shader}: parameters exceed the immediates");
    }
}

#[test]
fn bindings_in_the_text_are_the_bindings_of_the_module() {
    for (shader, defines) in permutations() {
        let (expanded, module) = module(shader, &with_access(defines, Passing::Uniform));
        let seen: BTreeSet<_> = module
            .global_variables
            .iter()
            .filter_map(|(_, v)| Some((v.binding?, v.name.clone()?)))
            .filter(|(binding, _)| binding.group == 0)
            .map(|(binding, name)| (binding.binding, name))
            .collect();
        let parsed: BTreeSet<_> =
            expanded.bindings.iter().map(|b| (b.index, b.name.clone())).collect();
        assert_eq!(parsed, seen, "{shader}");
        assert_eq!(parsed.len(), expanded.bindings.len(), "{shader}: a binding number twice");
    }
}

#[test]
fn every_op_has_a_shader_and_every_shader_a_permutation() {
    let stems: BTreeSet<_> =
        shader::FILES.iter().map(|(p, _)| *p).filter(|p| !p.contains('/')).collect();
    let ops: BTreeSet<_> = Op::NAMES.iter().copied().collect();
    assert_eq!(stems, ops);
    let tried: BTreeSet<_> = permutations().map(|(shader, _)| shader).collect();
    assert_eq!(tried, ops);
}

#[test]
fn shader_headers_say_what_must_not_change() {
    for (path, text) in shader::FILES {
        assert!(text.starts_with("// "), "shaders/{path}.wgsl has no header comment");
        if !path.contains('/') {
            let header = text.lines().take_while(|l| l.starts_with("//"));
            let parts = header.filter(|l| *l == "//").count();
            assert!(
                parts >= 3,
                "the header of shaders/{path}.wgsl wants formula, operands, division of work and \
                 invariance, with empty lines between"
            );
        }
    }
}
