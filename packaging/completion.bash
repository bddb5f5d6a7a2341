# bash completion for twofold; what completes is asked of the program itself.
_twofold_completion() {
    local IFS=$'\n'
    COMPREPLY=($(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" _TWOFOLD_COMPLETE=complete_bash \
        "$1" 2>/dev/null))
    return 0
}
complete -o default -F _twofold_completion twofold
