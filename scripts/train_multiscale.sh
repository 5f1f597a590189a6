#!/bin/sh
# Train all stages of the multi-scale detector, one after the other, each from the file before:
#   sh scripts/train_multiscale.sh light DATA HEALTHY RUN [OPTION...]    for a CPU
#   sh scripts/train_multiscale.sh full  DATA HEALTHY RUN [OPTION...]    the paper's sizes, for a GPU
# Further options go to every stage, such as --set max_minutes=20 or --device cuda. A killed run
# goes on where it was with the same command.
set -eu
size=$1 data=$2 healthy=$3 run=$4
shift 4
case $size in
    light) hypothesis="" refiner="" ;;
    full)
        hypothesis="--set width=1 --set stem=1 --set patch=256 --set batch_size=10
            --set steps_per_epoch=1000 --set learning_rate=1e-3 --set data_threads=4"
        refiner="--set backbone=resnet50 --set batch_size=90 --set learning_rate=1e-4
            --set pool=200000 --set mined_images=0 --set data_threads=4" ;;
    *) echo "The first word is light or full, not $size." >&2; exit 2 ;;
esac
known=""
for stage in fine coarse refine classify; do
    case $stage in fine | coarse) options=$hypothesis ;; *) options=$refiner ;; esac
    # Options are words without blanks: they may be split.
    # shellcheck disable=SC2086
    "${NAPARI_FUNDUS:-napari-fundus}" train multiscale --data "$data" --healthy "$healthy" \
        -o "$run/$stage" --name multiscale --set stage=$stage $known $options --resume "$@"
    known="--checkpoint $run/$stage/best.safetensors"
done
echo "All stages: $run/classify/best.safetensors"
