//! A tiny model as a file, for tests of the built binary.

use std::path::PathBuf;

use coppice::{format::gguf::Writer, quant::QuantFormat};

use crate::command::Sandbox;

const WIDTH: usize = 64;
const FEED_FORWARD: usize = 128;
const TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n\
    {{ message.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n";

/// GPT-2's characters for the 256 bytes.
fn byte_tokens() -> Vec<String> {
    let printable = |b: u32| matches!(b, 33..=126 | 161..=172 | 174..=255);
    let mut next = 256;
    (0..256u32)
        .map(|byte| {
            let point = if printable(byte) {
                byte
            } else {
                next += 1;
                next - 1
            };
            char::from_u32(point).expect("below the surrogates").to_string()
        })
        .collect()
}

/// A Llama of one layer over bytes, with a chat template.
pub fn tiny_model(sandbox: &Sandbox) -> PathBuf {
    let mut tokens = byte_tokens();
    tokens.extend(["<|im_start|>", "<|im_end|>"].map(str::to_owned));
    let mut types = vec![1; 256];
    types.extend([3, 3]);
    let vocab = tokens.len();
    let mut w = Writer::new("llama");
    w.u32("llama.block_count", 1)
        .u32("llama.embedding_length", WIDTH as u32)
        .u32("llama.feed_forward_length", FEED_FORWARD as u32)
        .u32("llama.attention.head_count", 4)
        .u32("llama.attention.head_count_kv", 2)
        .u32("llama.context_length", 128)
        .f32("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .f32("llama.rope.freq_base", 10_000.0)
        .string("tokenizer.ggml.model", "gpt2")
        .string("tokenizer.ggml.pre", "gpt-2")
        .strings("tokenizer.ggml.tokens", &tokens)
        .strings::<&str>("tokenizer.ggml.merges", &[])
        .ints("tokenizer.ggml.token_type", &types)
        .u32("tokenizer.ggml.eos_token_id", 257)
        .bool("tokenizer.ggml.add_bos_token", false)
        .string("tokenizer.chat_template", TEMPLATE);
    let mut seed = 1u32;
    let mut matrix = |w: &mut Writer, name: &str, n: usize, k: usize| {
        let values: Vec<f32> = (0..n * k)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((seed >> 8) as f32 / (1 << 24) as f32 - 0.5) * 0.4
            })
            .collect();
        let mut bytes = Vec::new();
        QuantFormat::Q8_0.quantize(&values, &mut bytes).expect("whole blocks of finite values");
        w.tensor(name, [n, k], QuantFormat::Q8_0, &bytes);
    };
    matrix(&mut w, "token_embd.weight", vocab, WIDTH);
    for (name, n, k) in [
        ("attn_q", WIDTH, WIDTH),
        ("attn_k", WIDTH / 2, WIDTH),
        ("attn_v", WIDTH / 2, WIDTH),
        ("attn_output", WIDTH, WIDTH),
        ("ffn_gate", FEED_FORWARD, WIDTH),
        ("ffn_up", FEED_FORWARD, WIDTH),
        ("ffn_down", WIDTH, FEED_FORWARD),
    ] {
        matrix(&mut w, &format!("blk.0.{name}.weight"), n, k);
    }
    for name in ["blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"] {
        w.tensor_f32(name, [WIDTH], &[1.0; WIDTH]);
    }
    let path = sandbox.path().join("tiny.gguf");
    w.write(&path).expect("the folder can be written");
    path
}
