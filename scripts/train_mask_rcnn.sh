#!/bin/sh
# Train Mask R-CNN:
#   sh scripts/train_mask_rcnn.sh light DATA HEALTHY RUN [OPTION...]    for a CPU
#   sh scripts/train_mask_rcnn.sh paper DATA HEALTHY RUN [OPTION...]    the paper's, for a GPU
# Further options go to the training, such as --set max_minutes=45 or --set kind=resnet101. A killed
# run goes on where it was with the same command.
set -eu
size=$1 data=$2 healthy=$3 run=$4
shift 4
case $size in
    # The seed that the bundled U-Net, which the light network begins with, was held to.
    light) options="--set seed=2" ;;
    paper)
        options="--set kind=resnet50 --set pretrained=true --set patch=1024 --set dilations=2
            --set zoom=0.1 --set shift=0.1 --set batch_size=2 --set steps_per_epoch=0
            --set optimizer=adam --set learning_rate=1e-4 --set weight_decay=0 --set ema=0
            --set clip_norm=0 --set warmup_steps=0 --set schedule=steps --set factor=0.1
            --set milestones=[25,50] --set max_epochs=65 --set data_threads=4" ;;
    *) echo "The first word is light or paper, not $size." >&2; exit 2 ;;
esac
# Options are words without blanks: they may be split.
# shellcheck disable=SC2086
exec "${NAPARI_FUNDUS:-napari-fundus}" train mask_rcnn --data "$data" --healthy "$healthy" \
    -o "$run" --name mask-rcnn $options --resume "$@"
