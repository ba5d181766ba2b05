"""Computes every metric of an evaluation with scikit-learn and SciPy, or by its definition in NumPy if they lack it.

Reads a list of cases on standard input (logits, labels and so on) and writes their figures, as JSON; what does not exist
is null.
"""

import json
import math
import sys

import numpy as np
from scipy import optimize, special, stats
from sklearn import metrics


def none(value):
    value = float(value)
    return None if math.isnan(value) else value


def ranking(labels, scores, classes):
    """ROC AUC and average precision of each class against the rest."""
    found = []
    for c in range(classes):
        mine = labels == c
        auc = metrics.roc_auc_score(mine, scores[:, c]) if 0 < mine.sum() < len(mine) else None
        average = metrics.average_precision_score(mine, scores[:, c]) if mine.any() else None
        found.append((auc, average))
    return found


def mean(values, weights):
    there = [(value, weight) for value, weight in zip(values, weights) if value is not None]
    whole = sum(weight for _, weight in there)
    return sum(value * weight for value, weight in there) / whole if whole else None


def top(logits, labels, k):
    # The sort is stable: the class with the smaller number ranks first among equal logits.
    order = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    share = (order == labels[:, None]).any(axis=1).mean()
    untied = all(len(set(row)) == len(row) for row in logits)
    if untied and 2 < logits.shape[1] and k < logits.shape[1]:
        theirs = metrics.top_k_accuracy_score(labels, logits, k=k, labels=range(logits.shape[1]))
        assert abs(theirs - share) < 1e-12
    return share


def calibration(probabilities, labels, bins):
    """Bins of equal width; a confidence on a border belongs to the lower bin."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.digitize(confidence, np.arange(1, bins) / bins, right=True)
    table, error = [], 0.0
    for at in range(bins):
        inside = place == at
        count = int(inside.sum())
        if not count:
            table.append([0, None, None])
            continue
        table.append([count, confidence[inside].mean(), right[inside].mean()])
        error += count / len(labels) * abs(right[inside].mean() - confidence[inside].mean())
    return {"error": error, "bins": table}


def temperature(logits, labels):
    """The T at which the derivative of the mean cross-entropy with respect to 1/T is zero."""

    def slope(b):
        shifted = logits - logits.max(axis=1, keepdims=True)
        p = special.softmax(b * shifted, axis=1)
        return ((p * shifted).sum(axis=1) - shifted[np.arange(len(labels)), labels]).mean()

    if not slope(1e-3) < 0 < slope(1e3):
        return None
    return 1 / optimize.brentq(slope, 1e-3, 1e3, xtol=1e-15, rtol=4 * np.finfo(float).eps, maxiter=500)


def measure(logits, labels, batch, bins):
    n, classes = logits.shape
    probabilities = special.softmax(logits, axis=1)
    losses = -special.log_softmax(logits, axis=1)[np.arange(n), labels]
    answers = logits.argmax(axis=1)
    if classes > 2 and probabilities.min() > 1e-12:
        theirs = metrics.log_loss(labels, probabilities, labels=range(classes))
        assert abs(theirs - losses.mean()) < 1e-12
    parts = [slice(start, start + batch) for start in range(0, n, batch)]
    known = dict(labels=range(classes), zero_division=np.nan)
    each = metrics.precision_recall_fscore_support(labels, answers, **known)
    ranked = ranking(labels, probabilities, classes)
    support = np.bincount(labels, minlength=classes).astype(float)
    averages = {}
    for name, weights in (("macro", np.ones(classes)), ("weighted", support)):
        three = metrics.precision_recall_fscore_support(labels, answers, average=name, zero_division=0)[:3]
        auc, average = (mean([it[k] for it in ranked], weights) for k in (0, 1))
        if classes > 2 and (support > 0).all():
            theirs = metrics.roc_auc_score(labels, probabilities, multi_class="ovr", average=name)
            assert abs(theirs - auc) < 1e-12
            one_hot = np.eye(classes)[labels]
            theirs = metrics.average_precision_score(one_hot, probabilities, average=name)
            assert abs(theirs - average) < 1e-12
        averages[name] = [*map(float, three), auc, average]
    correct = int((answers == labels).sum())
    interval = stats.binomtest(correct, n).proportion_ci(0.95, method="wilson")
    return {
        "loss": losses.mean(),
        "accuracy": metrics.accuracy_score(labels, answers),
        "batch_means": [
            np.mean([losses[part].mean() for part in parts]),
            np.mean([(answers == labels)[part].mean() for part in parts]),
        ],
        "interval": [interval.low, interval.high],
        "top": [top(logits, labels, k) for k in range(1, min(5, classes) + 1)],
        "classes": [[none(it[c]) for it in each[:3]] + [int(each[3][c]), *ranked[c]] for c in range(classes)],
        "averages": averages,
        "confusion": metrics.confusion_matrix(labels, answers, labels=range(classes)).tolist(),
        "calibration": calibration(probabilities, labels, bins),
        "worst": [int(i) for i in sorted(np.flatnonzero(answers != labels), key=lambda i: (-losses[i], i))[:10]],
    }


def contest(first, second, labels):
    a, b = first.argmax(axis=1), second.argmax(axis=1)
    one, other = int(((a == labels) & (b != labels)).sum()), int(((a != labels) & (b == labels)).sum())
    statistic = max(abs(one - other) - 1, 0) ** 2 / (one + other) if one + other else None
    return {
        "agreement": (a == b).mean(),
        "counts": [int(((a == labels) & (b == labels)).sum()), one, other, int(((a != labels) & (b != labels)).sum())],
        "p_value": stats.binomtest(one, one + other).pvalue if one + other else 1.0,
        "statistic": statistic,
        "chi_squared_p_value": None if statistic is None else stats.chi2.sf(statistic, 1),
        "changed": [int(i) for i in np.flatnonzero(a != b)[:100]],
    }


def figures(case):
    def array(name):
        return np.array(case[name], float).reshape(-1, case["classes"])

    labels = np.array(case["labels"])
    logits = array("logits")
    found = measure(logits, labels, case["batch"], case["bins"])
    if "second" in case:
        found["contest"] = contest(logits, array("second"), labels)
    if "validation" in case:
        best = temperature(array("validation"), np.array(case["validation_labels"]))
        after = None
        if best is not None:
            loss = -special.log_softmax(logits / best, axis=1)[np.arange(len(labels)), labels]
            error = calibration(special.softmax(logits / best, axis=1), labels, case["bins"])["error"]
            after = [loss.mean(), error]
        found["temperature"] = [best, after]
    return found


json.dump([figures(case) for case in json.load(sys.stdin)], sys.stdout, default=float)
