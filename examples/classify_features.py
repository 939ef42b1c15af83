"""Uses a trained encoder with scikit-learn: features of every file, and a classifier on them.

ablate export RUN --to encoder
python examples/classify_features.py encoder my_sounds/manifest.csv
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import classification_report
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import ablate


def classify(encoder_folder: str, manifest: Path) -> str:
    """Trains on the clips of the splits train and valid; returns a report on those of test.

    Args:
        encoder_folder: Folder of an exported encoder, or of a finished run.
        manifest: CSV file with the columns `path`, `label` and `split`.
    """
    encoder = ablate.load_encoder(encoder_folder)
    clips = pd.read_csv(manifest)
    files = [manifest.parent / path for path in clips["path"]]
    features = np.stack([encoder.features(file) for file in files])  # (clips, dim)
    is_test = (clips["split"] == "test").to_numpy()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(features[~is_test], clips["label"][~is_test])
    predicted = model.predict(features[is_test])
    return str(classification_report(clips["label"][is_test], predicted, zero_division=0))


if __name__ == "__main__":
    print(classify(sys.argv[1], Path(sys.argv[2])))
