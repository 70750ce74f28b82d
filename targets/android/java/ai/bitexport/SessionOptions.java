package ai.bitexport;

/** How much memory a session takes, and how many threads compute for it. */
public final class SessionOptions {
    int context;
    int chunk = 16;
    int threads = 1;
    int draft;

    /** How many tokens the session holds at most; less than the model's takes less memory. */
    public SessionOptions context(int tokens) {
        context = atLeast(1, tokens, "context");
        return this;
    }

    /** How many tokens of a prompt are read at once; an answer is cancelled between two chunks. */
    public SessionOptions chunk(int tokens) {
        chunk = atLeast(1, tokens, "chunk");
        return this;
    }

    /** Threads, yours included; they change no bit of any answer. */
    public SessionOptions threads(int count) {
        threads = atLeast(1, count, "threads");
        return this;
    }

    /** How many tokens an answer may draft, at most 8. */
    public SessionOptions draft(int tokens) {
        draft = Options.within(0, tokens, Options.MOST_DRAFTED, "draft");
        return this;
    }

    private static int atLeast(int least, int value, String name) {
        if (value < least) {
            throw new IllegalArgumentException(
                    name + " is " + value + "; it is " + least + " or more");
        }
        return value;
    }
}
