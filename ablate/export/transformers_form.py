"""Creates the files by which `transformers` loads an exported encoder.

`AutoModel.from_pretrained(folder, trust_remote_code=True)` imports `modeling_ablate.py`, which
needs `ablate` to be installed: the encoder is built from its settings as everywhere else.
"""

import json

from ablate.core.records.export import ExportedEncoder

_MODELING = '''"""The encoder for `transformers`; needs ablate {version} or later."""

from ablate.core.records.export import ExportedEncoder
from ablate.export.encoder import AudioEncoder
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling


class AblateConfig(PretrainedConfig):
    model_type = "ablate"


class AblateModel(PreTrainedModel):
    """Computes features over time, and their mean, of waveforms (batch, samples)."""

    config_class = AblateConfig
    main_input_name = "input_values"

    def __init__(self, config):
        super().__init__(config)
        self.audio = AudioEncoder(ExportedEncoder.from_json(config.encoder, "config.json"))
        self.post_init()

    @classmethod
    def from_pretrained(cls, name, *args, config=None, trust_source=False, **kwargs):
        config = config or AblateConfig.from_pretrained(name, **kwargs)
        model = cls(config)
        model.audio = AudioEncoder.from_pretrained(
            name, revision=kwargs.get("revision"), trust_source=trust_source
        )
        return model.eval()

    def save_pretrained(self, folder, **kwargs):
        self.config.save_pretrained(folder)
        self.audio.save_pretrained(folder)

    def forward(self, input_values, attention_mask=None, **kwargs):
        lengths = None if attention_mask is None else attention_mask.sum(dim=1)
        features, is_sound = self.audio.encode(input_values, lengths)
        pooled = features.sum(dim=1) / is_sound.sum(dim=1, keepdim=True)
        return BaseModelOutputWithPooling(last_hidden_state=features, pooler_output=pooled)
'''


def create_transformers_files(record: ExportedEncoder) -> dict[str, str]:
    """Returns the content of the files, by name."""
    config = {
        "model_type": "ablate",
        "architectures": ["AblateModel"],
        "auto_map": {
            "AutoConfig": "modeling_ablate.AblateConfig",
            "AutoModel": "modeling_ablate.AblateModel",
        },
        "encoder": record.to_checked_json(),
    }
    return {
        "config.json": json.dumps(config, indent=2) + "\n",
        "modeling_ablate.py": _MODELING.format(version=record.version),
    }
