"""The table of pretrained models that are known by name."""

import dataclasses
from dataclasses import dataclass

from finetunekit.foundation import arguments, html
from finetunekit.foundation.messages import listed, plural

_APPLICATIONS = (
    ("ConvNeXtBase", 87_566_464, 224),
    ("ConvNeXtLarge", 196_230_336, 224),
    ("ConvNeXtSmall", 49_454_688, 224),
    ("ConvNeXtTiny", 27_820_128, 224),
    ("ConvNeXtXLarge", 348_147_968, 224),
    ("DenseNet121", 7_037_504, 224),
    ("DenseNet169", 12_642_880, 224),
    ("DenseNet201", 18_321_984, 224),
    ("EfficientNetB0", 4_049_571, 224),
    ("EfficientNetB1", 6_575_239, 240),
    ("EfficientNetB2", 7_768_569, 260),
    ("EfficientNetB3", 10_783_535, 300),
    ("EfficientNetB4", 17_673_823, 380),
    ("EfficientNetB5", 28_513_527, 456),
    ("EfficientNetB6", 40_960_143, 528),
    ("EfficientNetB7", 64_097_687, 600),
    ("EfficientNetV2B0", 5_919_312, 224),
    ("EfficientNetV2B1", 6_931_124, 240),
    ("EfficientNetV2B2", 8_769_374, 260),
    ("EfficientNetV2B3", 12_930_622, 300),
    ("EfficientNetV2L", 117_746_848, 480),
    ("EfficientNetV2M", 53_150_388, 480),
    ("EfficientNetV2S", 20_331_360, 384),
    ("InceptionResNetV2", 54_336_736, 299),
    ("InceptionV3", 21_802_784, 299),
    ("MobileNet", 3_228_864, 224),
    ("MobileNetV2", 2_257_984, 224),
    ("MobileNetV3Large", 2_996_352, 224),
    ("MobileNetV3Small", 939_120, 224),
    ("NASNetLarge", 84_887_922, 331),
    ("NASNetMobile", 4_269_716, 224),
    ("ResNet101", 42_658_176, 224),
    ("ResNet101V2", 42_626_560, 224),
    ("ResNet152", 58_370_944, 224),
    ("ResNet152V2", 58_331_648, 224),
    ("ResNet50", 23_587_712, 224),
    ("ResNet50V2", 23_564_800, 224),
    ("VGG16", 14_714_688, 224),
    ("VGG19", 20_024_384, 224),
    ("Xception", 20_861_480, 299),
)
_PRESETS = (
    ("bert_tiny_en_uncased", 4_385_920),
    ("bert_small_en_uncased", 28_763_648),
    ("bert_medium_en_uncased", 41_373_184),
    ("bert_base_en_uncased", 109_482_240),
    ("bert_base_multi", 177_853_440),
    ("bert_large_en_uncased", 335_141_888),
    ("all_minilm_l6_v2_en", 22_713_216),
    ("all_minilm_l12_v2_en", 33_360_000),
    ("bge_small_v1.5_en", 33_360_000),
    ("bge_base_v1.5_en", 109_482_240),
    ("distil_bert_base_en_uncased", 66_362_880),
    ("distil_bert_base_multi", 134_734_080),
    ("roberta_base_en", 124_052_736),
    ("roberta_large_en", 354_307_072),
    ("xlm_roberta_base_multi", 277_450_752),
    ("albert_base_en_uncased", 11_683_584),
    ("deberta_v3_extra_small_en", 70_682_112),
    ("deberta_v3_small_en", 141_304_320),
    ("deberta_v3_base_en", 183_831_552),
    ("gpt2_base_en", 124_439_808),
    ("gpt2_medium_en", 354_823_168),
)
_TASKS = {
    "image": ("image recognition", "image classification", "detection", "segmentation"),
    "text": ("text classification", "sentiment", "question answering", "translation", "pairs"),
}
_LICENCES = {
    "image": "see keras.io/api/applications",
    "text": "see the preset's page at keras.io/keras_hub/presets",
}


@dataclass(frozen=True, kw_only=True)
class BackboneRow:
    """One pretrained model.

    Args:
        name: What to give `load_backbone`.
        modality: `"image"` or `"text"`.
        parameters: The number of parameters, without a classifier.
        input_size: Side of the training images in pixels; for texts, the maximum number of tokens.
        training_data: What it was trained on.
        source: Where the weights come from.
        licence: The licence of the weights, as far as it is known.
        needs: What is required: nothing, a download, or an extra.
    """

    name: str
    modality: str
    parameters: int
    input_size: int | None
    training_data: str
    source: str
    licence: str
    needs: str


class BackboneTable(tuple[BackboneRow, ...]):
    """Rows, the smallest first; prints as a table."""

    __slots__ = ()

    def __str__(self) -> str:
        """A line for each."""
        head = f"{'name':<40}{'modality':<10}{'parameters':>14}{'input':>7}  needs"
        rows = [
            f"{row.name:<40}{row.modality:<10}{row.parameters:>14,}{row.input_size or '':>7}  "
            f"{row.needs}"
            for row in self
        ]
        return "\n".join([head, *rows])

    def __repr__(self) -> str:
        return f"<BackboneTable: {plural(len(self), 'backbone')}>"

    def _repr_html_(self) -> str:
        head = ("name", "modality", "parameters", "input", "training data", "licence", "needs")
        return html.view(
            plural(len(self), "backbone"),
            html.table(
                head,
                [
                    (
                        row.name,
                        row.modality,
                        f"{row.parameters:,}",
                        row.input_size,
                        row.training_data,
                        row.licence,
                        row.needs,
                    )
                    for row in self
                ],
            ),
        )


def list_backbones(
    task: str | None = None,
    *,
    modality: str | None = None,
    max_parameters: int | None = None,
) -> BackboneTable:
    """The pretrained models that are known by name, the smallest first.

    Args:
        task: The intended task, such as `"sentiment"` or `"image recognition"`; the tasks of
            `add_head`, such as `"binary"`, suit all.
        modality: `"image"` or `"text"`.
        max_parameters: The largest number of parameters.

    Returns:
        A `BackboneTable` of `BackboneRow`.

    Raises:
        ValueError: If task or modality is unknown, or the limit is not a positive number.

    Example:
        ```python
        import finetunekit as ftk

        small = ftk.list_backbones("image recognition", max_parameters=3_000_000)
        print(small)
        assert "builtin:mobilenet_v2" in [row.name for row in small]
        ```
    """
    wanted = _modalities(task, modality)
    if max_parameters is not None and not (
        isinstance(max_parameters, (int, float)) and max_parameters > 0
    ):
        raise ValueError(
            "`max_parameters` must be a positive number, such as 30_000_000. "
            f"Received: max_parameters={max_parameters!r}"
        )
    limit = float("inf") if max_parameters is None else max_parameters
    rows = [r for r in _rows() if r.modality in wanted and r.parameters <= limit]
    return BackboneTable(sorted(rows, key=lambda row: row.parameters))


def _modalities(task: str | None, modality: str | None) -> set[str]:
    if modality is not None and modality not in _TASKS:
        raise ValueError(
            f"`modality` must be one of {listed(_TASKS)}. Received: modality={modality!r}"
        )
    wanted = set(_TASKS) if modality is None else {modality}
    from finetunekit.tasks import families  # Late, since it loads Keras, which the table does not.

    general = [family.name for family in families()]
    if task is None or task in general:
        return wanted
    suits = {kind for kind, tasks in _TASKS.items() if task in tasks}
    if not suits:
        names = [name for tasks in (*_TASKS.values(), general) for name in tasks]
        arguments.check_choice(task, "task", names)
    return wanted & suits


def _rows() -> list[BackboneRow]:
    built_in = BackboneRow(
        name="builtin:mobilenet_v2",
        modality="image",
        parameters=2_257_984,
        input_size=224,
        training_data="ImageNet-1k",
        source="torchvision",
        licence="BSD-3-Clause",
        needs="nothing",
    )
    image = dataclasses.replace(
        built_in,
        source="keras.applications",
        licence=_LICENCES["image"],
        needs="a download",
    )
    text = BackboneRow(
        name="",
        modality="text",
        parameters=0,
        input_size=None,
        training_data="texts; see the preset's page",
        source="KerasHub",
        licence=_LICENCES["text"],
        needs="finetunekit[hub] and a download",
    )
    return [
        built_in,
        *(
            dataclasses.replace(image, name=name, parameters=count, input_size=side)
            for name, count, side in _APPLICATIONS
        ),
        *(
            dataclasses.replace(text, name=f"kerashub:{name}", parameters=count)
            for name, count in _PRESETS
        ),
    ]
