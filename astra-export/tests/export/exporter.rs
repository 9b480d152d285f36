//! What PyTorch's exporter makes of a DINOv2 with a saliency decoder, less the nodes that only compute shapes: weights of
//! matrix products under anonymous names, the module's path in the names of nodes.

use astra_export::family::vit::{BlockWeights, Head, UpConvolution, VitModel};
use astra_export::family::weights::{Linear, Norm};
use astra_export::graph::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, data_type,
};

/// Before the names of the encoder's nodes.
const SCOPE: &str = "/trunk/";
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
        exporter.graph.output.push(ValueInfoProto {
            name: "answer".to_owned(),
            r#type: None,
        });
        ModelProto {
            graph: Some(exporter.graph),
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
        patches = self.node("Transpose", "", &[&patches]);

        let class = self.tensor("cls_token", &[1, 1, hidden], &model.class_token);
        let class = self.node("Expand", "", &[&class, "sizes"]);
        let tokens = self.node("Concat", "", &[&class, &patches]);
        let zeros = self.anonymous(&[1, 1, hidden], &vec![0.0; hidden]);
        let side = model.positions.side();
        let table = self.anonymous(&[1, side * side, hidden], model.positions.values());
        let table = self.node("Reshape", "", &[&table, "sizes"]);
        let table = self.node("Transpose", "", &[&table]);
        let table = self.node(
            "Resize",
            &format!("{scope}Resize"),
            &[&table, "", "", "sizes"],
        );
        self.text("mode", "cubic");
        self.text("coordinate_transformation_mode", "half_pixel");
        let table = self.node("Reshape", "", &[&table, "sizes"]);
        let positions = self.node("Concat", "", &[&zeros, &table]);
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
        let mut rows = |name: &str, linear| {
            let rows = self.linear(&format!("{attention}{name}/"), linear, &n);
            let sizes = [model.heads, model.hidden / model.heads].map(|size| self.size(size));
            let sizes = self.node("Concat", "", &["batch", "tokens", &sizes[0], &sizes[1]]);
            let rows = self.node(
                "Reshape",
                &format!("{attention}{name}/Reshape"),
                &[&rows, &sizes],
            );
            self.node("Transpose", "", &[&rows])
        };
        let (k, v, q) = (
            rows("key", &block.key),
            rows("value", &block.value),
            rows("query", &block.query),
        );
        let width = (model.hidden / model.heads) as f32;
        let factor = self.anonymous(&[], &[width.powf(-0.25)]);
        let q = self.node("Mul", "", &[&q, &factor]);
        let divisor = self.anonymous(&[1], &[width.powf(0.25)]);
        let k = self.node("Div", "", &[&k, &divisor]);
        let scores = self.node("MatMul", "", &[&q, &k]);
        let shares = self.node("Softmax", &format!("{attention}Softmax"), &[&scores]);
        let mixed = self.node("MatMul", "", &[&shares, &v]);
        let mixed = self.linear(
            &format!("{scope}attention/output/dense/"),
            &block.output,
            &mixed,
        );
        let mixed = self.scale(&format!("{scope}layer_scale1/Mul"), &scales[0], &mixed);
        let x = self.node("Add", "", &[&mixed, x]);
        let n = self.norm(&format!("{scope}norm2/"), &block.norm2, &x);
        let wide = self.linear(&format!("{scope}mlp/fc1/"), &block.up, &n);
        let wide = self.node("Erf", &format!("{scope}mlp/activation/Erf"), &[&wide]);
        let narrow = self.linear(&format!("{scope}mlp/fc2/"), &block.down, &wide);
        let narrow = self.scale(&format!("{scope}layer_scale2/Mul"), &scales[1], &narrow);
        self.node("Add", "", &[&narrow, &x])
    }

    fn decoder(&mut self, model: &VitModel, features: &str) {
        let Head::Saliency(saliency) = &model.head else {
            panic!("no saliency decoder")
        };
        let one = self.size(1);
        let rows = self.node("Slice", "/Slice", &[features, &one, "end", &one, &one]);
        let columns = self.node("Transpose", "", &[&rows]);
        self.ints("perm", &[0, 2, 1]);
        let mut image = self.node("Reshape", "", &[&columns, "sizes"]);
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
        image = self.node("Resize", "/decoder/Resize", &[&image, "", "", "sizes"]);
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
        let variance = self.node("ReduceMean", "", &[x]);
        let variance = self.node("Add", &format!("{scope}Add"), &[&variance, &epsilon]);
        let unit = self.node("Div", "", &[x, &variance]);
        let weight = self.vector(&format!("{scope}weight"), &norm.weight);
        let scaled = self.node("Mul", &format!("{scope}Mul"), &[&unit, &weight]);
        let bias = self.vector(&format!("{scope}bias"), &norm.bias);
        self.node("Add", &format!("{scope}Add_1"), &[&scaled, &bias])
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
    fn size(&mut self, size: usize) -> String {
        let name = self.node("Constant", "", &[]);
        self.attribute(AttributeProto {
            name: "value".to_owned(),
            t: Some(TensorProto {
                dims: vec![1],
                data_type: data_type::INT64,
                raw_data: (size as i64).to_le_bytes().to_vec(),
                ..TensorProto::default()
            }),
            ..AttributeProto::default()
        });
        name
    }
}

/// `model` as it has to be read from [`Exporter::export`]: scales and batch normalizations folded in.
pub(crate) fn folded(mut model: VitModel, scales: &[[Vec<f32>; 2]]) -> VitModel {
    for (block, [after_attention, after_mlp]) in model.blocks.iter_mut().zip(scales) {
        block.output.scale_outputs(after_attention);
        block.down.scale_outputs(after_mlp);
    }
    if let Head::Saliency(saliency) = &mut model.head {
        for stage in &mut saliency.stages {
            // 2 / sqrt(variance + epsilon) is 2; the mean takes 2 * 0.25 off what the shift adds.
            stage.weight.iter_mut().for_each(|weight| *weight *= 2.0);
            stage.bias.iter_mut().for_each(|bias| *bias *= 2.0);
        }
    }
    model
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
