//! One scheme of tensor names: GGUF's. Hugging Face's names map onto it.

use crate::model::config::Arch;

/// GGUF's name of a Hugging Face tensor; `None` for tensors of no part we know (vision towers).
pub(super) fn canonical(name: &str, arch: Arch) -> Option<String> {
    let name = ["language_model.model.", "model.language_model.", "model.", "language_model."]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name);
    let fixed = match name {
        "embed_tokens.weight" => Some("token_embd.weight"),
        "norm.weight" => Some("output_norm.weight"),
        "lm_head.weight" => Some("output.weight"),
        _ => None,
    };
    if let Some(fixed) = fixed {
        return Some(fixed.to_owned());
    }
    let (layer, part) = name.strip_prefix("layers.")?.split_once('.')?;
    let layer: usize = layer.parse().ok()?;
    let (module, kind) = part.rsplit_once('.')?;
    if kind != "weight" && kind != "bias" {
        return None;
    }
    // Gemma has four norms a layer, so the same name means another place there
    let gemma = arch == Arch::Gemma3;
    let module = match module {
        "input_layernorm" => "attn_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.o_proj" => "attn_output",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "post_attention_layernorm" if gemma => "post_attention_norm",
        "post_attention_layernorm" => "ffn_norm",
        "pre_feedforward_layernorm" => "ffn_norm",
        "post_feedforward_layernorm" => "post_ffw_norm",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        _ => return None,
    };
    Some(format!("blk.{layer}.{module}.{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_worlds_meet() {
        let cases = [
            ("model.embed_tokens.weight", Arch::Llama, Some("token_embd.weight")),
            ("lm_head.weight", Arch::Qwen3, Some("output.weight")),
            ("model.layers.3.self_attn.q_proj.bias", Arch::Qwen2, Some("blk.3.attn_q.bias")),
            (
                "model.layers.0.post_attention_layernorm.weight",
                Arch::Llama,
                Some("blk.0.ffn_norm.weight"),
            ),
            (
                "model.layers.0.post_attention_layernorm.weight",
                Arch::Gemma3,
                Some("blk.0.post_attention_norm.weight"),
            ),
            (
                "language_model.model.layers.9.mlp.up_proj.weight",
                Arch::Gemma3,
                Some("blk.9.ffn_up.weight"),
            ),
            ("vision_tower.layers.0.fc1.weight", Arch::Gemma3, None),
            ("model.layers.x.mlp.up_proj.weight", Arch::Llama, None),
        ];
        for (name, arch, want) in cases {
            assert_eq!(canonical(name, arch).as_deref(), want, "{name}");
        }
    }
}
