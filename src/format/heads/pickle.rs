//! A pickle as data: the few opcodes and callables that a PyTorch state dictionary needs.
//!
//! Unpickling in Python runs whatever the file names. Here nothing runs: a callable is one of a
//! fixed list, with a meaning of our own, and anything else is an error with its name. Values lie in
//! an arena and refer to each other by index, so that no nesting can exhaust the stack, and every
//! opcode makes at most one of them, so that memory is bounded by the length of the pickle.

/// Element type of a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    F16,
    BF16,
}

impl Element {
    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }
}

/// A tensor as the pickle describes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    /// Type of its storage.
    pub element: Element,
    /// Name of its storage within the archive.
    pub storage: String,
    /// Elements of the storage.
    pub len: u64,
    /// First element.
    pub offset: u64,
    /// Dimensions.
    pub shape: Vec<u64>,
    /// Elements from one index to the next, for each dimension.
    pub strides: Vec<u64>,
}

/// The tensors of a pickled state dictionary, with their names.
///
/// # Errors
/// A callable or opcode that is not allowed, by name; a pickle that is torn or does not describe a
/// dictionary of tensors. The text has no file name.
pub(super) fn state_dict(bytes: &[u8]) -> Result<Vec<(String, Tensor)>, String> {
    let mut machine = Machine { bytes, at: 0, ..Machine::default() };
    let top = machine.run()?;
    machine.tensors(&top)
}

/// Most dimensions of a tensor.
const MAX_RANK: usize = 4;
/// Longest text: names repeat, and must not add up to more than the file.
const MAX_TEXT: u64 = 1024;
/// Most tensors.
const MAX_TENSORS: usize = 1 << 16;

#[derive(Clone, Debug, PartialEq)]
enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// Bytes of the pickle.
    Text(usize, usize),
    Callable(Callable),
    /// Index of [`Machine::lists`]; tuples and lists.
    List(usize),
    /// Index of [`Machine::dicts`].
    Dict(usize),
    /// Index of [`Machine::storages`].
    Storage(usize),
    /// Index of [`Machine::made`].
    Tensor(usize),
    Mark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Callable {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Element),
}

impl Callable {
    fn find(module: &str, name: &str) -> Result<Self, String> {
        match (module, name) {
            ("collections", "OrderedDict") => Ok(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2") => Ok(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Ok(Self::RebuildParameter),
            ("torch", "FloatStorage") => Ok(Self::Storage(Element::F32)),
            ("torch", "HalfStorage") => Ok(Self::Storage(Element::F16)),
            ("torch", "BFloat16Storage") => Ok(Self::Storage(Element::BF16)),
            _ => Err(format!(
                "the pickle wants to call `{}.{}`, which is not allowed",
                module.escape_debug(),
                name.escape_debug()
            )),
        }
    }
}

#[derive(Clone, Debug)]
struct Storage {
    element: Element,
    key: (usize, usize),
    len: u64,
}

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    /// Written by rising index, as Python does.
    memo: Vec<Value>,
    lists: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
    storages: Vec<Storage>,
    made: Vec<Tensor>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Value, String> {
        loop {
            let at = self.at;
            let op = self.byte()?;
            if op == b'.' {
                return self.pop();
            }
            self.step(op).map_err(|what| format!("pickle byte {at}: {what}"))?;
        }
    }

    fn step(&mut self, op: u8) -> Result<(), String> {
        match op {
            // PROTO, FRAME
            0x80 => {
                let version = self.byte()?;
                if !(2..=5).contains(&version) {
                    return Err(format!("protocol {version}, wanted 2 to 5"));
                }
            }
            0x95 => {
                self.take(8)?;
            }
            b'N' => self.stack.push(Value::None),
            0x88 | 0x89 => self.stack.push(Value::Bool(op == 0x88)),
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(value.into()));
            }
            b'K' => {
                let value = self.byte()?;
                self.stack.push(Value::Int(value.into()));
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(value.into()));
            }
            // LONG1
            0x8a => {
                let value = self.long()?;
                self.stack.push(Value::Int(value));
            }
            // BINUNICODE, SHORT_BINUNICODE, BINUNICODE8
            b'X' => {
                let len = u32::from_le_bytes(self.array()?);
                self.text(len.into())?;
            }
            0x8c => {
                let len = self.byte()?;
                self.text(len.into())?;
            }
            0x8d => {
                let len = u64::from_le_bytes(self.array()?);
                self.text(len)?;
            }
            b'(' => self.stack.push(Value::Mark),
            b')' | b']' => self.push_list(Vec::new()),
            b't' => {
                let items = self.pop_to_mark()?;
                self.push_list(items);
            }
            0x85..=0x87 => {
                let count = usize::from(op - 0x84);
                let from = self.stack.len().checked_sub(count).ok_or("the stack is empty")?;
                let items = self.stack.split_off(from);
                self.push_list(items);
            }
            b'a' => {
                let item = self.pop()?;
                self.top_list()?.push(item);
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.top_list()?.extend(items);
            }
            b'}' => {
                self.dicts.push(Vec::new());
                self.stack.push(Value::Dict(self.dicts.len() - 1));
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.top_dict()?.push((key, value));
            }
            b'u' => {
                let mut items = self.pop_to_mark()?.into_iter();
                let dict = self.top_dict()?;
                while let Some(key) = items.next() {
                    let value = items.next().ok_or("a key without a value")?;
                    dict.push((key, value));
                }
            }
            b'0' => {
                self.pop()?;
            }
            // BINPUT, LONG_BINPUT, MEMOIZE
            b'q' => {
                let index = self.byte()?;
                self.put(index.into())?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.array()?);
                self.put(index as usize)?;
            }
            0x94 => self.put(self.memo.len())?,
            b'h' => {
                let index = self.byte()?;
                self.get(index.into())?;
            }
            b'j' => {
                let index = u32::from_le_bytes(self.array()?);
                self.get(index as usize)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.stack.push(Value::Callable(Callable::find(module, name)?));
            }
            // STACK_GLOBAL
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let found = Callable::find(self.str(&module)?, self.str(&name)?)?;
                self.stack.push(Value::Callable(found));
            }
            b'Q' => self.persistent()?,
            b'R' => self.call()?,
            // BUILD: attributes of an OrderedDict, such as `_metadata`, say nothing about tensors.
            b'b' => {
                self.pop()?;
                self.top_dict()?;
            }
            other => return Err(format!("opcode {other:#04x} is not allowed")),
        }
        Ok(())
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or("the pickle is cut off")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(*self.take(N)?.first_chunk().expect("as many bytes as taken"))
    }

    /// An integer of up to 8 bytes, two's complement.
    fn long(&mut self) -> Result<i64, String> {
        let len = usize::from(self.byte()?);
        let bytes = self.take(len)?;
        if len > 8 {
            return Err(format!("an integer of {len} bytes"));
        }
        let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
        let mut all = [if negative { 0xff } else { 0 }; 8];
        all[..len].copy_from_slice(bytes);
        Ok(i64::from_le_bytes(all))
    }

    fn text(&mut self, len: u64) -> Result<(), String> {
        let start = self.at;
        if len > MAX_TEXT {
            return Err(format!("a text of {len} bytes, the limit is {MAX_TEXT}"));
        }
        std::str::from_utf8(self.take(len as usize)?).map_err(|_| "a text is no UTF-8")?;
        self.stack.push(Value::Text(start, self.at));
        Ok(())
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|&b| b == b'\n').ok_or("the pickle is cut off")?;
        self.at += len + 1;
        std::str::from_utf8(&rest[..len]).map_err(|_| "a name is no UTF-8".into())
    }

    fn str(&self, value: &Value) -> Result<&'a str, String> {
        match *value {
            Value::Text(start, end) => Ok(std::str::from_utf8(&self.bytes[start..end])
                .expect("checked when the text was read")),
            _ => Err("a text is missing".into()),
        }
    }

    fn pop(&mut self) -> Result<Value, String> {
        match self.stack.pop() {
            Some(Value::Mark) | None => Err("the stack is empty".into()),
            Some(value) => Ok(value),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.stack.iter().rposition(|v| *v == Value::Mark).ok_or("there is no mark")?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn push_list(&mut self, items: Vec<Value>) {
        self.lists.push(items);
        self.stack.push(Value::List(self.lists.len() - 1));
    }

    fn top_list(&mut self) -> Result<&mut Vec<Value>, String> {
        match self.stack.last() {
            Some(&Value::List(index)) => Ok(&mut self.lists[index]),
            _ => Err("there is no list to add to".into()),
        }
    }

    fn top_dict(&mut self) -> Result<&mut Vec<(Value, Value)>, String> {
        match self.stack.last() {
            Some(&Value::Dict(index)) => Ok(&mut self.dicts[index]),
            _ => Err("there is no dictionary to add to".into()),
        }
    }

    fn put(&mut self, index: usize) -> Result<(), String> {
        let value = match self.stack.last() {
            Some(Value::Mark) | None => return Err("there is nothing to remember".into()),
            Some(value) => value.clone(),
        };
        match index.cmp(&self.memo.len()) {
            std::cmp::Ordering::Less => self.memo[index] = value,
            std::cmp::Ordering::Equal => self.memo.push(value),
            std::cmp::Ordering::Greater => {
                return Err(format!("memo {index} before memo {}", self.memo.len()));
            }
        }
        Ok(())
    }

    fn get(&mut self, index: usize) -> Result<(), String> {
        let value = self.memo.get(index).ok_or_else(|| format!("there is no memo {index}"))?;
        self.stack.push(value.clone());
        Ok(())
    }

    fn list(&self, value: &Value) -> Result<&[Value], String> {
        match value {
            Value::List(index) => Ok(&self.lists[*index]),
            _ => Err("a tuple is missing".into()),
        }
    }

    /// `('storage', type, key, device, elements)` as PyTorch writes it.
    fn persistent(&mut self) -> Result<(), String> {
        let id = self.pop()?;
        let [kind, class, key, _device, len] = self.list(&id)? else {
            return Err("a reference that is no storage".into());
        };
        if self.str(kind)? != "storage" {
            return Err(format!("a reference to `{}`", self.str(kind)?.escape_debug()));
        }
        let (Value::Callable(Callable::Storage(element)), &Value::Text(start, end)) = (class, key)
        else {
            return Err("a storage without type or name".into());
        };
        let Value::Int(len) = len else { return Err("a storage without length".into()) };
        let len = u64::try_from(*len).map_err(|_| "a storage of negative length")?;
        self.storages.push(Storage { element: *element, key: (start, end), len });
        self.stack.push(Value::Storage(self.storages.len() - 1));
        Ok(())
    }

    fn call(&mut self) -> Result<(), String> {
        let (args, callable) = (self.pop()?, self.pop()?);
        let args = self.list(&args)?;
        let value = match (&callable, args) {
            (Value::Callable(Callable::OrderedDict), []) => {
                self.dicts.push(Vec::new());
                Value::Dict(self.dicts.len() - 1)
            }
            (
                Value::Callable(Callable::RebuildTensor),
                [Value::Storage(storage), Value::Int(offset), shape, strides, ..],
            ) => {
                let storage = &self.storages[*storage];
                let tensor = Tensor {
                    element: storage.element,
                    storage: self.str(&Value::Text(storage.key.0, storage.key.1))?.to_owned(),
                    len: storage.len,
                    offset: u64::try_from(*offset).map_err(|_| "a negative offset")?,
                    shape: self.sizes(shape)?,
                    strides: self.sizes(strides)?,
                };
                if self.made.len() >= MAX_TENSORS {
                    return Err(format!("more than {MAX_TENSORS} tensors"));
                }
                self.made.push(tensor);
                Value::Tensor(self.made.len() - 1)
            }
            (Value::Callable(Callable::RebuildParameter), [tensor @ Value::Tensor(_), ..]) => {
                tensor.clone()
            }
            (Value::Callable(callable), _) => {
                return Err(format!("{callable:?} with arguments it does not take"));
            }
            _ => return Err("a call of what is no callable".into()),
        };
        self.stack.push(value);
        Ok(())
    }

    fn sizes(&self, value: &Value) -> Result<Vec<u64>, String> {
        let items = self.list(value)?;
        if items.len() > MAX_RANK {
            return Err(format!("a tensor of {} dimensions", items.len()));
        }
        let size = |item: &Value| match item {
            Value::Int(n) => u64::try_from(*n).map_err(|_| "a negative size".to_owned()),
            _ => Err("a size that is no integer".to_owned()),
        };
        items.iter().map(size).collect()
    }

    fn tensors(&self, top: &Value) -> Result<Vec<(String, Tensor)>, String> {
        let Value::Dict(index) = top else {
            return Err("the pickle is no dictionary of tensors".into());
        };
        let dict = &self.dicts[*index];
        if dict.len() > MAX_TENSORS {
            return Err(format!("more than {MAX_TENSORS} tensors"));
        }
        let mut out = Vec::new();
        for (key, value) in dict {
            let name = self.str(key).map_err(|_| "a tensor's name is no text")?;
            let Value::Tensor(tensor) = value else {
                return Err(format!("`{}` is no tensor", name.escape_debug()));
            };
            out.push((name.to_owned(), self.made[*tensor].clone()));
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `torch.save` writes for `OrderedDict(w=tensor of [2, 3])`, protocol 2.
    fn pickled() -> Vec<u8> {
        let mut p =
            b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01X\x01\x00\x00\x00wq\x02".to_vec();
        p.extend(b"ctorch._utils\n_rebuild_tensor_v2\nq\x03((X\x07\x00\x00\x00storageq\x04");
        p.extend(b"ctorch\nBFloat16Storage\nq\x05X\x01\x00\x00\x000q\x06X\x03\x00\x00\x00cpuq\x07");
        p.extend(b"K\x06tq\x08QK\x00K\x02K\x03\x86q\x09K\x03K\x01\x86q\x0a\x89h\x00)Rq\x0btq\x0cR");
        p.extend(b"q\x0ds}q\x0eX\x09\x00\x00\x00_metadataq\x0fh\x00)Rq\x10sb.");
        p
    }

    #[test]
    fn a_state_dictionary_is_read() {
        let tensors = state_dict(&pickled()).expect("as PyTorch writes it");
        let wanted = Tensor {
            element: Element::BF16,
            storage: "0".into(),
            len: 6,
            offset: 0,
            shape: vec![2, 3],
            strides: vec![3, 1],
        };
        assert_eq!(tensors, [("w".to_owned(), wanted)]);
    }

    #[test]
    fn callables_and_opcodes_that_are_not_allowed_are_named() {
        for (pickle, said) in [
            (&b"\x80\x02cos\nsystem\n(X\x02\x00\x00\x00lstR."[..], "`os.system`"),
            (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", "`builtins.eval`"),
            (b"\x80\x02cbuiltins\ngetattr\n.", "`builtins.getattr`"),
            (b"\x80\x02(S'ls'\nios\nsystem\n.", "opcode 0x53"),
            (b"\x80\x02K\x01\x81.", "opcode 0x81"),
            (b"\x80\x07.", "protocol 7"),
            (b"\x80\x02N.", "no dictionary"),
            (b"\x80\x02}X\x01\x00\x00\x00aNs.", "`a` is no tensor"),
            (b"\x80\x02}X\xff\xff\xff\xffa", "4294967295 bytes"),
            (b"\x80\x02}X\x09\x00\x00\x00a", "cut off"),
            (b"\x80\x02}r\xff\xff\xff\xff.", "memo 4294967295"),
            (b"\x80\x02s.", "stack is empty"),
            (b"\x80\x02u.", "no mark"),
        ] {
            let error = state_dict(pickle).expect_err(said);
            assert!(error.contains(said), "{said}: {error}");
        }
    }

    #[test]
    fn no_change_of_a_byte_panics() {
        let sound = pickled();
        for at in 0..sound.len() {
            for bit in 0..8 {
                let mut bytes = sound.clone();
                bytes[at] ^= 1 << bit;
                let _either = state_dict(&bytes);
            }
            assert!(state_dict(&sound[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn deep_nesting_is_no_danger() {
        let mut bytes = b"\x80\x02)".to_vec();
        bytes.extend(std::iter::repeat_n(0x85, 1 << 20));
        bytes.push(b'.');
        assert!(state_dict(&bytes).expect_err("a tuple").contains("no dictionary"));
    }
}
