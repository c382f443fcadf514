# Starts a learner's server, as the learner: sh start.sh ENVIRONMENT [options of jupyterhub-singleuser]
# New lessons are copied into ~/lessons; a lesson that is there stays as the learner left it.
set -eu
environment=$1
shift
mkdir -p "$HOME/lessons"
for lesson in "$LESSONS_COURSE"/notebooks/[0-9]*.ipynb; do
    [ -e "$HOME/lessons/${lesson##*/}" ] || cp "$lesson" "$HOME/lessons/"
done
export LESSONS_WORKSPACE="$HOME/lessons/workspace" JUPYTER_PREFER_ENV_PATH=1
exec "$environment/bin/jupyterhub-singleuser" "$@"
