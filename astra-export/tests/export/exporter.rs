//! What PyTorch's exporter makes of a DINOv2 with a saliency decoder, for images of [`SIDE`] times [`SIDE`] patches, less the
//! nodes that only compute shapes: weights of matrix products under anonymous names, the module's path in the names of nodes.

use astra_export::family::vit::{BlockWeights, Head, UpConvolution, VitModel};
use astra_export::family::weights::{Linear, Norm};
use astra_export::graph::proto::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, data_type,
};

/// Before the names of the encoder's nodes.
const SCOPE: &str = "/trunk/";
/// Patches a side that the file is exported for; the table of positions is for others.
const SIDE: usize = 3;
/// Variance and epsilon of every batch normalization; the other parts make it the identity.
const VARIANCE: f32 = 0.75;
const EPSILON: f32 = 0.25;

#[derive(Default)]
pub(crate) struct Exporter {
    graph: GraphProto,
    anonymous: usize,
}

impl Exporter {
    /// The file for `model`, whose head has to be a saliency decoder. `scales` are the layer scales to export beside the
    /// weights of each block, as they were before folding.
    pub(crate) fn export(model: &VitModel, scales: &[[Vec<f32>; 2]]) -> ModelProto {
        let mut exporter = Self::default();
        let mut x = exporter.embeddings(model);
        for (number, (block, scales)) in model.blocks.iter().zip(scales).enumerate() {
            let scope = format!("{SCOPE}encoder/layer.{number}/");
            x = exporter.layer(&scope, model, block, scales, &x);
        }
        let features = exporter.norm(&format!("{SCOPE}layernorm/"), &model.norm, &x);
        exporter.decoder(model, &features);
        let size = SIDE * model.patch;
        exporter
            .graph
            .input
            .push(tensor_info("image", &[1, 3, size, size]));
        exporter
            .graph
            .output
            .push(tensor_info("answer", &[1, 1, size, size]));
        ModelProto {
            graph: Some(exporter.graph),
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: 14,
            }],
            ..ModelProto::default()
        }
    }

    fn embeddings(&mut self, model: &VitModel) -> String {
        let (hidden, patch) = (model.hidden, model.patch);
        let scope = format!("{SCOPE}embeddings/");
        let weight = columns(&model.projection);
        let weight = self.tensor("projection.weight", &[hidden, 3, patch, patch], &weight);
        let bias = self.vector("projection.bias", &model.projection.bias);
        let conv = format!("{scope}patch_embeddings/projection/Conv");
        let mut patches = self.node("Conv", &conv, &["image", &weight, &bias]);
        self.ints("strides", &[patch, patch]);
        let rows = self.sizes(&[1, hidden, SIDE * SIDE]);
        patches = self.node("Reshape", "", &[&patches, &rows]);
        patches = self.transposed(&patches, &[0, 2, 1]);

        let class = self.tensor("cls_token", &[1, 1, hidden], &model.class_token);
        let one = self.sizes(&[1, 1, 1]);
        let class = self.node("Expand", "", &[&class, &one]);
        let tokens = self.joined(1, &[&class, &patches]);
        let zeros = self.anonymous(&[1, 1, hidden], &vec![0.0; hidden]);
        let side = model.positions.side();
        let table = self.anonymous(&[1, side * side, hidden], model.positions.values());
        let square = self.sizes(&[1, side, side, hidden]);
        let table = self.node("Reshape", "", &[&table, &square]);
        let table = self.transposed(&table, &[0, 3, 1, 2]);
        let sizes = self.sizes(&[1, hidden, SIDE, SIDE]);
        let table = self.node(
            "Resize",
            &format!("{scope}Resize"),
            &[&table, "", "", &sizes],
        );
        self.text("mode", "cubic");
        self.text("coordinate_transformation_mode", "half_pixel");
        let table = self.transposed(&table, &[0, 2, 3, 1]);
        let rows = self.sizes(&[1, SIDE * SIDE, hidden]);
        let table = self.node("Reshape", "", &[&table, &rows]);
        let positions = self.joined(1, &[&zeros, &table]);
        self.node("Add", &format!("{scope}Add"), &[&tokens, &positions])
    }

    fn layer(
        &mut self,
        scope: &str,
        model: &VitModel,
        block: &BlockWeights,
        scales: &[Vec<f32>; 2],
        x: &str,
    ) -> String {
        let attention = format!("{scope}attention/attention/");
        let n = self.norm(&format!("{scope}norm1/"), &block.norm1, x);
        let (heads, head_dim) = (model.heads, model.hidden / model.heads);
        let mut rows = |name: &str, linear, perm: &[usize]| {
            let rows = self.linear(&format!("{attention}{name}/"), linear, &n);
            let sizes = [1, SIDE * SIDE + 1, heads, head_dim].map(|size| self.sizes(&[size]));
            let sizes = self.joined(0, &sizes.each_ref().map(String::as_str));
            let name = format!("{attention}{name}/Reshape");
            let rows = self.node("Reshape", &name, &[&rows, &sizes]);
            self.transposed(&rows, perm)
        };
        let (k, v, q) = (
            rows("key", &block.key, &[0, 2, 3, 1]),
            rows("value", &block.value, &[0, 2, 1, 3]),
            rows("query", &block.query, &[0, 2, 1, 3]),
        );
        let width = (model.hidden / model.heads) as f32;
        let factor = self.anonymous(&[], &[width.powf(-0.25)]);
        let q = self.node("Mul", "", &[&q, &factor]);
        let divisor = self.anonymous(&[1], &[width.powf(0.25)]);
        let k = self.node("Div", "", &[&k, &divisor]);
        let scores = self.node("MatMul", "", &[&q, &k]);
        let shares = self.node("Softmax", &format!("{attention}Softmax"), &[&scores]);
        self.int("axis", 3);
        let mixed = self.node("MatMul", &format!("{attention}Mixed"), &[&shares, &v]);
        let mixed = self.transposed(&mixed, &[0, 2, 1, 3]);
        let sizes = self.sizes(&[1, SIDE * SIDE + 1, model.hidden]);
        let mixed = self.node("Reshape", "", &[&mixed, &sizes]);
        let mixed = self.linear(
            &format!("{scope}attention/output/dense/"),
            &block.output,
            &mixed,
        );
        let mixed = self.scale(&format!("{scope}layer_scale1/Mul"), &scales[0], &mixed);
        let x = self.node("Add", "", &[&mixed, x]);
        let n = self.norm(&format!("{scope}norm2/"), &block.norm2, &x);
        let wide = self.linear(&format!("{scope}mlp/fc1/"), &block.up, &n);
        let wide = self.gelu(&format!("{scope}mlp/activation/"), &wide);
        let narrow = self.linear(&format!("{scope}mlp/fc2/"), &block.down, &wide);
        let narrow = self.scale(&format!("{scope}layer_scale2/Mul"), &scales[1], &narrow);
        self.node("Add", "", &[&narrow, &x])
    }

    fn decoder(&mut self, model: &VitModel, features: &str) {
        let Head::Saliency(saliency) = &model.head else {
            panic!("no saliency decoder")
        };
        let one = self.sizes(&[1]);
        let end = self.sizes(&[i64::MAX as usize]);
        let rows = self.node("Slice", "/Slice", &[features, &one, &end, &one, &one]);
        let columns = self.transposed(&rows, &[0, 2, 1]);
        let square = self.sizes(&[1, model.hidden, SIDE, SIDE]);
        let mut image = self.node("Reshape", "", &[&columns, &square]);
        for (number, stage) in saliency.stages.iter().enumerate() {
            image = self.stage(number, stage, &image);
        }
        let weight = self.tensor(
            "last.weight",
            &[1, saliency.last.inputs, 1, 1],
            &saliency.last.weight,
        );
        let bias = self.vector("last.bias", &saliency.last.bias);
        image = self.node("Conv", "/decoder/last/Conv", &[&image, &weight, &bias]);
        let size = SIDE * model.patch;
        let sizes = self.sizes(&[1, 1, size, size]);
        image = self.node("Resize", "/decoder/Resize", &[&image, "", "", &sizes]);
        self.text("mode", "linear");
        self.text("coordinate_transformation_mode", "half_pixel");
        self.node("Sigmoid", "answer", &[&image]);
    }

    fn stage(&mut self, number: usize, stage: &UpConvolution, image: &str) -> String {
        let name = |part: &str| format!("decoder.{number}.{part}");
        let sides = [stage.inputs, stage.outputs, stage.kernel, stage.kernel];
        let weight = self.tensor(&name("weight"), &sides, &stage.weight);
        let bias = self.vector(&name("bias"), &stage.bias);
        let up = self.node(
            "ConvTranspose",
            &format!("/decoder/up{number}"),
            &[image, &weight, &bias],
        );
        self.ints("strides", &[stage.stride; 2]);
        self.ints("pads", &[stage.padding; 4]);
        let channels = stage.outputs;
        let parts = [
            ("scale", 2.0),
            ("shift", 0.5),
            ("mean", 0.25),
            ("variance", VARIANCE),
        ];
        let parts = parts.map(|(part, value)| self.vector(&name(part), &vec![value; channels]));
        let [scale, shift, mean, variance] = &parts;
        let norm = self.node(
            "BatchNormalization",
            "",
            &[&up, scale, shift, mean, variance],
        );
        self.attribute(AttributeProto {
            name: "epsilon".to_owned(),
            f: Some(EPSILON),
            ..AttributeProto::default()
        });
        self.node("Relu", "", &[&norm])
    }

    fn norm(&mut self, scope: &str, norm: &Norm, x: &str) -> String {
        let epsilon = self.anonymous(&[], &[norm.epsilon]);
        let two = self.anonymous(&[], &[2.0]);
        let mean = self.mean(x);
        let centred = self.node("Sub", "", &[x, &mean]);
        let square = self.node("Pow", "", &[&centred, &two]);
        let variance = self.mean(&square);
        let variance = self.node("Add", &format!("{scope}Add"), &[&variance, &epsilon]);
        let deviation = self.node("Sqrt", "", &[&variance]);
        let unit = self.node("Div", "", &[&centred, &deviation]);
        let weight = self.vector(&format!("{scope}weight"), &norm.weight);
        let scaled = self.node("Mul", &format!("{scope}Mul"), &[&unit, &weight]);
        let bias = self.vector(&format!("{scope}bias"), &norm.bias);
        self.node("Add", &format!("{scope}Add_1"), &[&scaled, &bias])
    }

    fn mean(&mut self, x: &str) -> String {
        let mean = self.node("ReduceMean", "", &[x]);
        self.ints("axes", &[2]);
        mean
    }

    fn gelu(&mut self, scope: &str, x: &str) -> String {
        let [root, one, half] = [2f32.sqrt(), 1.0, 0.5].map(|value| self.anonymous(&[], &[value]));
        let scaled = self.node("Div", "", &[x, &root]);
        let erf = self.node("Erf", &format!("{scope}Erf"), &[&scaled]);
        let sum = self.node("Add", "", &[&erf, &one]);
        let product = self.node("Mul", "", &[x, &sum]);
        self.node("Mul", "", &[&product, &half])
    }

    fn linear(&mut self, scope: &str, linear: &Linear, x: &str) -> String {
        let weight = self.anonymous(&[linear.inputs, linear.outputs], &linear.weight);
        let product = self.node("MatMul", &format!("{scope}MatMul"), &[x, &weight]);
        let bias = self.vector(&format!("{scope}bias"), &linear.bias);
        self.node("Add", &format!("{scope}Add"), &[&bias, &product])
    }

    fn scale(&mut self, name: &str, scale: &[f32], x: &str) -> String {
        let scale = self.vector(&format!("{name}.lambda"), scale);
        self.node("Mul", name, &[x, &scale])
    }

    fn node(&mut self, operator: &str, name: &str, inputs: &[&str]) -> String {
        self.anonymous += 1;
        let name = match name {
            "" => format!("/{operator}_{}", self.anonymous),
            name => name.to_owned(),
        };
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: operator.to_owned(),
            ..NodeProto::default()
        });
        name
    }

    fn attribute(&mut self, attribute: AttributeProto) {
        self.graph
            .node
            .last_mut()
            .unwrap()
            .attribute
            .push(attribute);
    }

    fn transposed(&mut self, x: &str, perm: &[usize]) -> String {
        let transposed = self.node("Transpose", "", &[x]);
        self.ints("perm", perm);
        transposed
    }

    fn joined(&mut self, axis: i64, parts: &[&str]) -> String {
        let joined = self.node("Concat", "", parts);
        self.int("axis", axis);
        joined
    }

    fn int(&mut self, name: &str, int: i64) {
        self.attribute(AttributeProto {
            name: name.to_owned(),
            i: Some(int),
            ..AttributeProto::default()
        });
    }

    fn ints(&mut self, name: &str, ints: &[usize]) {
        self.attribute(AttributeProto {
            name: name.to_owned(),
            ints: ints
                .iter()
                .map(|&int| i64::try_from(int).unwrap())
                .collect(),
            ..AttributeProto::default()
        });
    }

    fn text(&mut self, name: &str, text: &str) {
        self.attribute(AttributeProto {
            name: name.to_owned(),
            s: Some(text.as_bytes().to_vec()),
            ..AttributeProto::default()
        });
    }

    fn anonymous(&mut self, dims: &[usize], values: &[f32]) -> String {
        self.anonymous += 1;
        self.tensor(&format!("onnx::MatMul_{}", self.anonymous), dims, values)
    }

    fn vector(&mut self, name: &str, values: &[f32]) -> String {
        self.tensor(name, &[values.len()], values)
    }

    /// Raw bytes and typed fields by turns: files come with both.
    fn tensor(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        let mut tensor = TensorProto {
            dims: dims
                .iter()
                .map(|&dim| i64::try_from(dim).unwrap())
                .collect(),
            data_type: data_type::FLOAT,
            name: name.to_owned(),
            ..TensorProto::default()
        };
        if self.graph.initializer.len().is_multiple_of(2) {
            tensor.raw_data = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
        } else {
            tensor.float_data = values.to_vec();
        }
        self.graph.initializer.push(tensor);
        name.to_owned()
    }

    /// The value of a `Constant` node.
    fn sizes(&mut self, sizes: &[usize]) -> String {
        let name = self.node("Constant", "", &[]);
        self.attribute(AttributeProto {
            name: "value".to_owned(),
            t: Some(TensorProto {
                dims: vec![i64::try_from(sizes.len()).unwrap()],
                data_type: data_type::INT64,
                raw_data: sizes
                    .iter()
                    .flat_map(|&size| (size as i64).to_le_bytes())
                    .collect(),
                ..TensorProto::default()
            }),
            ..AttributeProto::default()
        });
        name
    }
}

fn tensor_info(name: &str, dims: &[usize]) -> ValueInfoProto {
    let dim = |&size: &usize| DimensionProto {
        dim_value: Some(i64::try_from(size).unwrap()),
        dim_param: None,
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: data_type::FLOAT,
                shape: Some(TensorShapeProto {
                    dim: dims.iter().map(dim).collect(),
                }),
            }),
        }),
    }
}

/// `[outputs, inputs]` of `[inputs, outputs]`.
pub(crate) fn columns(linear: &Linear) -> Vec<f32> {
    let column = |output| {
        linear
            .weight
            .iter()
            .copied()
            .skip(output)
            .step_by(linear.outputs)
    };
    (0..linear.outputs).flat_map(column).collect()
}
