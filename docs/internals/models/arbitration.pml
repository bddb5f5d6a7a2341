/* The arbitration protocol, for Spin: two nodes that lost each other, one witness that compares and
 * sets, and everything that may go wrong between them: questions and answers that are lost, asked
 * again, and late; nodes that crash between asking, knowing and acting, and forget all but their disk;
 * heartbeats that one of them hears and the other does not.
 *
 * Checked exhaustively: never two nodes acknowledge in one term (`owner`), and nobody acknowledges
 * in a term after a later one was served (`served`).
 *
 * a begins as primary in term 0 with b in step. `linked` falls once and for all (the story of one
 * loss; a healed pair begins anew). While linked, an acknowledgement needs the other's consent.
 */

#define TERMS 4
#define NOBODY 2

byte stored = 0;              /* the witness: the last term, and whose it is */
byte holder = NOBODY;
bool linked = true;
byte owner[TERMS];            /* who acknowledged alone in a term */
byte served = 0;              /* the highest term in which anybody acknowledged alone */
byte known[2];                /* on each node's disk: the highest term it knows */
byte asked[2];                /* on each node's disk, before the question: the highest it asked for */
byte spent[2];                /* what it asked for before it heard the other, or in an earlier life */
byte usable[2];               /* the term that it asks for, or won and may still begin to use; 0: none */
bool serves[2];               /* in a term that it won */
byte told[2];                 /* what was usable[] of the other when it was heard last */
byte theirs[2];               /* ... and the highest term that it knew or asked for */
byte heard = 0;
byte crashes = 0;

inline claim(who, number, answer) {
    atomic {                  /* decide(): compare and set; the same node may ask again */
        if
        :: number > stored -> stored = number; holder = who; answer = true
        :: number == stored && holder == who -> answer = true
        :: else -> answer = false
        fi
    }
}

inline raise(value, least) {
    if
    :: least > value -> value = least
    :: else
    fi
}

inline acknowledge(who, when) {
    atomic {
        assert(owner[when] == NOBODY || owner[when] == who);
        assert(when >= served);
        owner[when] = who;
        served = when
    }
}

/* One heartbeat of the other arrives. Whoever hears the other uses nothing any more that it won:
 * it decides with it, or asks again; and it never begins against one that serves in a later term.
 * What it asked for without an answer may be its own at the witness: never used any more, and the
 * other, who hears of it, asks for the term after. */
inline hear(me) {
    atomic {
        heard++;
        usable[me] = 0;
        spent[me] = asked[me];
        told[me] = usable[1 - me];
        theirs[me] = known[1 - me];
        raise(theirs[me], asked[1 - me])
    }
}

/* The same while a question is under way: what it asks for may still be used. */
inline hear_meanwhile(me) {
    atomic {
        heard++;
        told[me] = usable[1 - me];
        theirs[me] = known[1 - me];
        raise(theirs[me], asked[1 - me])
    }
}

inline dies(me) {
    atomic { crashes++; usable[me] = 0; told[me] = 0; theirs[me] = 0; spent[me] = asked[me] }
}

/* Frozen from the loss on; goes on alone only with a term that it has won. */
proctype node(byte me) {
    byte term = 0;
    byte wanted;
    bool won;
lost:
    do
    :: linked -> linked = false          /* at any moment */
    :: !linked -> break
    od;
ask:
    if
    :: heard < 3 -> hear(me); if :: serves[1 - me] -> goto over :: else fi
    :: skip
    fi;
#ifndef HIGHER
    wanted = known[me];
    raise(wanted, theirs[me]);
    wanted = (told[me] > known[me] && told[me] == wanted -> told[me] : wanted + 1);
#else
    wanted = known[me];
    raise(wanted, theirs[me]);
    wanted++;
#endif
    if
    :: wanted >= TERMS -> goto over
    :: else
    fi;
    won = false;
    atomic { raise(asked[me], wanted); raise(usable[me], wanted) };
    if
    :: true -> goto ask_again            /* the question is lost */
    :: true -> claim(me, wanted, won)
    fi;
    if
    :: heard < 3 -> hear_meanwhile(me); if :: serves[1 - me] -> goto over :: else fi
    :: skip
    fi;
    if
    :: goto ask_again                    /* the answer is lost */
    :: crashes < 2 -> dies(me); goto ask /* before it knows the answer */
    :: skip
    fi;
    if
#ifndef REUSE
    :: won && wanted <= spent[me] ->     /* its own from before: the other may count on its disuse */
        atomic { raise(known[me], wanted); usable[me] = 0 }; goto ask
    :: won && wanted > spent[me] -> atomic { raise(known[me], wanted); term = wanted }
#else
    :: won -> atomic { raise(known[me], wanted); term = wanted }
#endif
#ifndef NO_FENCE
    :: !won -> known[me] = stored; goto over  /* the other has it: stop serving, follow */
#else
    :: !won -> known[me] = stored; term = stored
#endif
    fi;
    if
    :: crashes < 2 -> dies(me); goto ask
                                              /* dies with the term on disk, asks for the next */
    :: heard < 3 -> hear(me); goto ask        /* while it stands down */
    :: skip
    fi;
#ifndef NO_FENCE
    atomic { usable[me] = 0; serves[me] = true };
#endif
serve:
    do
    :: acknowledge(me, term)
    :: goto over
    od;
ask_again:
    if
    :: goto ask
    :: goto over                          /* nobody rules: it waits */
    fi;
over:
    skip
}

init {
    atomic {
        owner[0] = NOBODY; owner[1] = NOBODY; owner[2] = NOBODY; owner[3] = NOBODY;
        run node(0);
        run node(1)
    }
}
