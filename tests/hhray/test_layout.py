"""Taste made mechanical: who reads the environment, how files are named, what hhray exports, how quickly it loads."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("hhray", "engine", "deployment", "loadtests")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

PUBLIC_NAMES = {
    "hhray": "",
    "hhray.__main__": "",
    "hhray.async_client": "AsyncClient CREATE_PATH SUBMIT_ATTEMPTS SubmitOptions TASKS_PATH UPLOADS_PATH succeeded",
    "hhray.batch_cap": "BatchCosts MAX_TOKENS_PER_RANK MIN_GAIN ROUNDING batch_cap tokens_of",
    "hhray.blocks": "BLOCK_SIZES Block aligned_blocks block_sizes smallest_block",
    "hhray.campaign": "FANNED FIXED MOST_VARIANTS OPTIONS Variant expand local_files read_campaign safe_name",
    "hhray.campaign_report": "REPORT_JSON REPORT_MARKDOWN REPORT_PAGE campaign_facts contact_sheet markdown_report "
    "write_report",
    "hhray.campaign_run": "CampaignRun OnChange missing_files prepare",
    "hhray.campaign_state": "CampaignState DONE FAILED LOCK_FILE Progress STATE_FILE SUBMITTED WAITING campaign_folder",
    "hhray.campaign_verbs": "CampaignProgress VERBS",
    "hhray.capabilities": "Capabilities FALLBACKS",
    "hhray.cli": "BROKEN_PIPE INTERRUPTED VERB_GROUP build_parser find_verbs main",
    "hhray.client": "Client",
    "hhray.client_blocking": "BlockingTransport Result at_once sleep_here",
    "hhray.client_download": "DOWNLOAD_ATTEMPTS Download MAX_DOWNLOAD_REDIRECTS parse_url",
    "hhray.client_events": "MAX_EVENT_CHARS ServerEvent read_events",
    "hhray.client_http": "MAX_PAUSE_SECONDS MAX_RETRY_AFTER_SECONDS Wire is_passing pause_seconds reason "
    "refused_stream",
    "hhray.client_media": "MAX_IMAGE_BYTES MAX_VIDEO_BYTES OSS_SCHEME default_model image_data_uri is_url local_video "
    "picture_url request_media",
    "hhray.client_options": "DEFAULT_WAIT_SECONDS add_server_options add_wait_options configure_submit",
    "hhray.client_verbs": "VERBS open_client view_as_json",
    "hhray.client_view": "TaskPage TaskRow TaskView parse_answer parse_event parse_page parse_policy parse_task "
    "retry_after_seconds",
    "hhray.client_wait": "EVENTS_PATH OnTrouble Patience STREAM_SECONDS Sleep Watch",
    "hhray.console": "ClipProgress expected printable result_console stage_table table",
    "hhray.corrected_costs": "CorrectedCosts Measured",
    "hhray.cost": "CHUNK_SECONDS CostModel Overheads TYPICAL_TEXT_TOKENS condition_tokens decode_chunks stream_tokens",
    "hhray.cost_correction": "ANY Corrections KEPT LEAST MOST_CLASSES MOVED ROW SEPARATOR WorkClass",
    "hhray.cost_defaults": "DEVICE_COSTS DeviceCosts",
    "hhray.cost_fit": "ALIKE BOTH DECODE_FEATURES DECODE_HEADS Fit NOISE ROWS_PER_CONSTANT Residual STEP_FEATURES "
    "STEP_HEADS Vector fit_decode fit_steps",
    "hhray.cost_rows": "DecodeRow ELEMENT_BYTES Row StepRow VIDEO_DECODE read_rows",
    "hhray.cost_verbs": "TOP_LEVEL VERBS fit_facts",
    "hhray.engine_settings": "CostSettings EngineSettings LayoutSettings WarmUpShape",
    "hhray.errors": "AccessDenied ArtifactsUnavailable BodyTooLarge ClientError ConfigError DataInspectionFailed "
    "DiskFull EmptyField EngineFault GangDied HhrayError IdempotencyConflict IllegalInput InvalidApiKey "
    "InvalidParameter InvalidURL LeaseLost MarkingFailed MediaError ModerationUnavailable NotFound PhaseTimeout "
    "RequestError RequestRefused RequestTimeout ServerUnreachable ServiceError StoreUnavailable TaskFailed Throttled "
    "UnsupportedOperation WaitTimeout",
    "hhray.geometry": "AUDIO_LATENTS_PER_SECOND Box ClipGeometry DURATIONS FRAMES_PER_SECOND LatentGrid MAX_DURATION "
    "MIN_DURATION PATCH PIXELS Ratio Resolution SPATIAL_STRIDE Size TEMPORAL_STRIDE edited_length frames_at_24 "
    "nearest_ratio",
    "hhray.local_rule": "LOCAL_WINDOW LocalRule local_rule",
    "hhray.marking": "MAX_TEXT MIN_LABEL_SECONDS Marking UNMARKED",
    "hhray.marking_settings": "CHINESE_LABEL ENGLISH_LABEL MarkingPolicy MarkingSettings Region TEXT_PATTERN "
    "WatermarkRule check_policy marking_of",
    "hhray.memory_exchange": "ELEMENT_BYTES GROUP_BYTES LINKED_CHANNELS MIB PAIR_BYTES PEER_CHANNEL_BYTES "
    "UNLINKED_CHANNELS communicator_bytes eligible_layouts exchange_bytes heads_sent int8_attention_bytes "
    "planned_exchange_bytes",
    "hhray.memory_parts": "Component Demand GPUS Gpu MemoryPlan Place STAGE_OF_TIER Stage TRANSFORMER_STAGES",
    "hhray.memory_plan": "KEPT_LATENTS MAX_TEXT_TOKENS MIN_GPU_GB RANK_COUNTS RESERVE_BYTES SMALL_MODEL_BYTES "
    "check_room is_small plan_memory shared_activation_bytes",
    "hhray.memory_recipes": "ALL_STAND_INS CODEC_OF Recipe components recipes two_layers",
    "hhray.memory_size": "CHUNK_TOKENS DECODE_BYTES_PER_PIXEL ENCODER_ACTIVATION_BYTES ENCODER_BYTES "
    "ENCODER_EMBEDDING_BYTES ENCODER_LAYERS Format GB PIECE_TOKENS SCALED_ALIGNMENT VAE_BYTES WEIGHT_BYTES "
    "activation_bytes eight_bit_workspace largest_linear layer_bytes layer_linears outer_bytes padding_bytes "
    "transformer_bytes",
    "hhray.metrics": "ALL BATCH_SIZE BUCKETS_SECONDS BUILD_INFO CLIPS_BY_DEGREE CLIP_LABELS CLIP_SECONDS COLD_SHAPES "
    "COUNTERS ENGINES ENGINES_DESIRED GAUGES HISTOGRAMS Metric OF_BATCHES PREDICTED_RATIO PREEMPTIONS "
    "QUEUED_GPU_SECONDS QUEUE_DEPTH RATIO_BUCKETS RUNNING_CLIPS RUNNING_GPU_SECONDS RollupRow STAGE_SECONDS",
    "hhray.model_size": "AUDIO_CHANNELS EMBEDDED EMBEDDED_SHARE ModelSize NUM_MODALITIES PATCH_CHANNELS PRESETS "
    "VIDEO_CHANNELS preset",
    "hhray.moderation_settings": "ModerationSettings OnHookError",
    "hhray.parallel_layout": "ParallelLayout possible_layouts ulysses_degrees",
    "hhray.plan_verbs": "VERBS",
    "hhray.plugin": "load_class make_plugin",
    "hhray.predicted_ratio": "Labels MILLIONTHS PredictedRatios ROW SEPARATOR ratio_histograms",
    "hhray.progress_settings": "ProgressSettings",
    "hhray.prompting": "Rewriter bind_references bound_prompt load_rewriter model_prompt model_text rewritten",
    "hhray.quotas": "Charge DAY_SECONDS NO_QUOTA Quota QuotaUse UNFINISHED_RETRY_SECONDS charge_of check_fits day_end "
    "longest milliseconds month_end refusal utc_day utc_month",
    "hhray.records": "AuditRow UsageRow day_name day_number",
    "hhray.request": "AudioSetting ClipRequest Language MAX_INLINE_BYTES MAX_SEED Media MediaType Mode ShapeKey "
    "tier_key",
    "hhray.s3_settings": "S3Settings",
    "hhray.served_model": "DEFAULT_LADDER DISTILLED_STEPS GUIDED_STEPS Pass SUPER_RESOLUTION_STEPS ServedModel",
    "hhray.service_settings": "AutoscalingSettings ClientSettings HttpSettings HubSettings RouterSettings",
    "hhray.settings": "Settings load_settings",
    "hhray.settings_group": "SettingsGroup",
    "hhray.step_work": "ClipTokens OUTPUT_BYTES StepFlops StepWork border_flops layer_flops seen_pairs step_flops "
    "step_work",
    "hhray.store_settings": "KeySettings MediaSettings StoreSettings",
    "hhray.tasks": "Artifact Demand EngineRecord NewTask Priority Progress QueueDepth QueuedTask SERVICE_STAGES Stage "
    "TERMINAL Task TaskState",
    "hhray.tenancy": "ANYBODY TenantSettings check_reserved tenant_settings",
    "hhray.unit_costs": "UnitCostTable",
    "hhray.upload_settings": "UploadSettings",
    "hhray.verb": "Verb",
    "hhray.video_only": "spared_bytes video_only_plan video_only_ranks",
    "hhray.webhook_settings": "WebhookSettings",
}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def defined_names(path: Path) -> set[str]:
    """Public names a module defines itself, without those it imports."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                names |= {leaf.id for leaf in ast.walk(target) if isinstance(leaf, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def test_the_public_names_of_hhray_are_these_and_no_others():
    found = {module_name(path): defined_names(path) for path in SOURCES if path.is_relative_to(ROOT / "hhray")}
    assert found == {module: set(names.split()) for module, names in PUBLIC_NAMES.items()}


def environment_reads(path: Path) -> list[int]:
    """Lines that read the environment; setting, updating or deleting a variable for a child is no read."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    written = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, (ast.Store, ast.Del)):
            written.add(id(node.value))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "update":
            written.add(id(node.func.value))
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            lines += [node.lineno for alias in node.names if alias.name in READERS]
        elif isinstance(node, ast.Attribute) and node.attr in READERS and isinstance(node.value, ast.Name):
            lines += [node.lineno] if node.value.id == "os" and id(node) not in written else []
    return lines


READERS = {"environ", "environb", "getenv", "getenvb"}


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("import os\nos.environ['A'] = '1'\ndel os.environ['A']\nos.environ.update(A='1')", []),
        ("import os\nos.environ['A']", [2]),
        ("import os\nos.environ.get('A')", [2]),
        ("import os\nos.getenv('A')", [2]),
        ("from os import environ", [1]),
        ("import os\ndict(os.environ)", [2]),
    ],
)
def test_the_scan_for_environment_reads_sees_reads_and_only_reads(tmp_path, source, lines):
    (tmp_path / "m.py").write_text(source)
    assert environment_reads(tmp_path / "m.py") == lines


def test_only_settings_reads_the_environment():
    reads = {module_name(path): lines for path in SOURCES if (lines := environment_reads(path))}
    reads.pop("hhray.settings", None)
    assert reads == {}


def test_no_module_has_a_name_that_says_nothing():
    empty_words = {"util", "utils", "helper", "helpers", "manager", "common", "misc"}
    assert [str(path) for path in SOURCES if empty_words & set(path.stem.split("_"))] == []


def in_a_fresh_python(code: str) -> tuple[dict[str, object], float]:
    """Runs `code`, which prints one JSON object last; returns it and the wall seconds."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1]), time.monotonic() - began


LOADED = "[name for name in ('torch', 'ray', 'fastapi', 'av', 'PIL', 'locust') if name in sys.modules]"


def test_importing_hhray_takes_less_than_half_a_second_and_brings_neither_torch_nor_ray():
    code = (
        "import json, sys, time; began = time.perf_counter(); import hhray;"
        f"print(json.dumps({{'seconds': time.perf_counter() - began, 'loaded': {LOADED}}}))"
    )
    result, _ = in_a_fresh_python(code)
    assert result["loaded"] == []
    assert result["seconds"] < 0.5


def test_no_module_of_hhray_brings_torch_or_ray():
    modules = ", ".join(set(PUBLIC_NAMES) - {"hhray.__main__"})
    result, _ = in_a_fresh_python(f"import json, sys; import {modules}; print(json.dumps({{'loaded': {LOADED}}}))")
    assert result["loaded"] == []


def test_the_help_of_the_command_comes_within_two_seconds_and_without_torch_or_ray():
    code = (
        "import json, sys; from hhray.cli import main\n"
        "try: main(['--help'])\n"
        f"except SystemExit: print(json.dumps({{'loaded': {LOADED}}}))"
    )
    _, first = in_a_fresh_python(code)
    result, second = in_a_fresh_python(code)
    assert result["loaded"] == []
    assert min(first, second) < 2.0


def test_loadtests_import_locust_in_the_locustfile_only():
    result, _ = in_a_fresh_python(
        "import json, sys; import loadtests.run, loadtests.summary, loadtests.workload;"
        f"print(json.dumps({{'loaded': {LOADED}}}))"
    )
    assert result["loaded"] == []
