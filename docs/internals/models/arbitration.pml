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
byte usable[2];               /* the term that a node won and may still begin to use; 0: none */
bool serves[2];               /* in a term that it won */
byte told[2];                 /* what was usable[] of the other when it was heard last */
byte heard = 0;
byte crashes = 0;

inline claim(who, asked, answer) {
    atomic {                  /* decide(): compare and set; the same node may ask again */
        if
        :: asked > stored -> stored = asked; holder = who; answer = true
        :: asked == stored && holder == who -> answer = true
        :: else -> answer = false
        fi
    }
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
 * it decides with it, or asks again; and it never begins against one that serves in a later term. */
inline hear(me) {
    atomic {
        heard++;
        usable[me] = 0;
        told[me] = usable[1 - me];
        if
        :: known[1 - me] > known[me] -> known[me] = known[1 - me]
        :: else
        fi
    }
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
    wanted = (told[me] > 0 && told[me] == known[me] -> told[me] : known[me] + 1);
#else
    wanted = known[me] + 1;
#endif
    if
    :: wanted >= TERMS -> goto over
    :: else
    fi;
    won = false;
    if
    :: true -> goto ask_again            /* the question is lost */
    :: true -> claim(me, wanted, won)
    fi;
    if
    :: goto ask_again                    /* the answer is lost */
    :: crashes < 2 -> crashes++; goto ask  /* dies before it has written it down */
    :: skip
    fi;
    if
    :: won -> atomic { known[me] = wanted; term = wanted; usable[me] = term }
#ifndef NO_FENCE
    :: !won -> known[me] = stored; goto over  /* the other has it: stop serving, follow */
#else
    :: !won -> known[me] = stored; term = stored
#endif
    fi;
    if
    :: crashes < 2 -> atomic { crashes++; usable[me] = 0; told[me] = 0 }; goto ask
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
