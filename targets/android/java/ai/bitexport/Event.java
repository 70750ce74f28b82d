package ai.bitexport;

/** One step of an answer. */
public final class Event {
    /** What happened. */
    public enum Kind {
        /** A chunk of what was given has been read: {@link #done} of {@link #total} tokens. */
        PREFILL,
        /** A token was chosen; its text may have to wait, and be empty. */
        TEXT,
        /** The one last event of every answer; its text is what was held back. */
        END
    }

    /** Why an answer ended. */
    public enum End {
        /** The model ended it, or a stop token or text came. */
        STOP,
        /** As many tokens as were asked for. */
        LENGTH,
        /** The context is full. */
        FULL,
        CANCELLED,
        /** {@link Event#status} says which. */
        ERROR
    }

    public final Kind kind;

    /** Of {@link Kind#END}, else null. */
    public final End end;

    /** Of {@link End#ERROR}: what the runtime calls it; else null. */
    public final String status;

    /** Of {@link Kind#PREFILL}: tokens. */
    public final int done;

    public final int total;

    /** The token that was chosen, one that ends the answer too; or -1. */
    public final int token;

    /** What has become certain: complete characters, often none. */
    public final String text;

    Event(Kind kind, End end, String status, int done, int total, int token, String text) {
        this.kind = kind;
        this.end = end;
        this.status = status;
        this.done = done;
        this.total = total;
        this.token = token;
        this.text = text;
    }

    static Event cancelled() {
        return new Event(Kind.END, End.CANCELLED, null, 0, 0, -1, "");
    }

    @Override
    public String toString() {
        switch (kind) {
            case PREFILL:
                return "PREFILL " + done + " of " + total;
            case TEXT:
                return "TEXT " + token + " \"" + text + "\"";
            default:
                return "END " + end + (status == null ? "" : " " + status);
        }
    }
}
