"""The two shell scripts of a job: a short one that Slurm keeps, and the one that it runs.

The second stands in the job's directory with the job's environment in it, so that neither the
controller nor its accounting get to see that. Both take the first instance of their submission and
the attempt; an array's task number is added to the first.
"""

import shlex
from typing import Final

from engines.lifecycle.facts import Intent
from engines.slurm.queue import Batch
from jobengine.v1.job_pb2 import JobSpec

RUN: Final = "run"
"""The name of the second script, in a job's directory."""

UNREACHABLE: Final = 120
"""The exit code of a script that can't see or write the job's directory."""

TAKEN: Final = 121
"""The exit code of a script whose attempt was begun by another one."""

_BATCH: Final = """\
if [ ! -r {run} ]; then exit {unreachable}; fi
exec /bin/sh {run} {first} {attempt}"""

_RUN: Final = """\
#!/bin/sh
# A run of the job {name}, see docs/engines/slurm.md of the job engine.
home={home}
instance=$(($1 + ${{SLURM_ARRAY_TASK_ID:-0}}))
key=$instance.$2
id=$SLURM_JOB_ID.${{SLURM_RESTART_COUNT:-0}}
mask=$(umask)
umask 077
cd -- "$home" || exit {unreachable}

# Whoever gives its own directory the attempt's name is the one that runs it. Only this keeps a
# controller that was killed from having it run again, which Slurm then does under the same id.
mkdir -p "new.$id" || exit {unreachable}
printf '%s %s %s\\n' "$(date +%s.%N)" "$id" "${{SLURMD_NODENAME:--}}" > "new.$id/claim" \\
    || exit {unreachable}
if ! mv -T "new.$id" "$key" 2> /dev/null; then
    rm -rf "new.$id"
    exit {taken}
fi
cd -- "$key" || exit {unreachable}

finish() {{ # REASON CODE
    stopped=0
    if [ -e ../stop ] || [ -e ../delete ]; then stopped=1; fi
    printf '%s %s %s %s\\n' "$1" "$2" "$(date +%s.%N)" "$stopped" > end.new
    sync end.new 2> /dev/null
    mv -f end.new end
    exit "$2"
}}

if [ -e ../stop ] || [ -e ../delete ]; then finish never-ran 0; fi

# A signal is the command's, which gets it as well: this script waits for what it does.
code=
got=1
trap 'got=1' HUP INT QUIT TERM USR1 USR2 ALRM XCPU

: > out
: > err
(
    trap - HUP INT QUIT TERM USR1 USR2 ALRM XCPU
    umask "$mask"
{enter}
    export JOB_COMPLETION_INDEX="$instance" JOBENGINE_JOB_ATTEMPT="$key"
    set -- {command}
    {path}
    case $1 in
        */*) [ -f "$1" ] && [ -x "$1" ] ;;
        *) command -v -- "$1" > /dev/null ;;
    esac || {{ printf 'there is no program %s, or it may not be run\\n' "$1" > "$home/$key/failed"
               exit 127; }}
    # The shell ignores these for whatever runs beside it; older ones of env can't mend that.
    default=--default-signal=INT,QUIT
    /usr/bin/env "$default" true 2> /dev/null || default=
    exec /usr/bin/env $default -- {variables} "$@"
) < /dev/null >> out 2>> err &
child=$!
while [ "$got" = 1 ]; do
    got=0
    wait "$child"
    now=$?
    if [ "$now" != 127 ] || [ -z "$code" ]; then code=$now; fi
done
if [ -s failed ]; then finish start-failed "$code"; fi
finish exited "$code"
"""

_FRESH: Final = """\
    mkdir -p work && cd work || { printf 'its directory can not be made\\n' > failed; exit 126; }"""

_GIVEN: Final = """\
    cd -- {directory} 2> /dev/null || {{
        printf 'there is no directory %s, or it may not be entered\\n' {directory} > failed
        exit 126
    }}"""


def make_batch(directory: str, batch: Batch) -> str:
    """The lines that Slurm is given to run for a submission; `directory` is the job's."""
    return _BATCH.format(
        run=shlex.quote(f"{directory}/{RUN}"),
        first=batch.first,
        attempt=batch.attempt,
        unreachable=UNREACHABLE,
    )


def make_run(intent: Intent, spec: JobSpec, directory: str) -> str:
    """What runs one attempt of a job in its directory, whichever."""
    variables = {
        **spec.env,
        "JOBENGINE_JOB_NAME": intent.name,
        "JOBENGINE_JOB_UID": intent.uid,
    }
    given = spec.working_dir
    return _RUN.format(
        name=intent.name,
        home=shlex.quote(directory),
        enter=_GIVEN.format(directory=shlex.quote(given)) if given else _FRESH,
        command=" ".join(map(shlex.quote, (*spec.command, *spec.args))),
        path=f"PATH={shlex.quote(spec.env['PATH'])}" if "PATH" in spec.env else ":",
        variables=" ".join(shlex.quote(f"{name}={text}") for name, text in variables.items()),
        unreachable=UNREACHABLE,
        taken=TAKEN,
    )
