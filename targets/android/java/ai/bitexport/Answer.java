package ai.bitexport;

import java.util.Iterator;
import java.util.NoSuchElementException;

/**
 * The events of an answer, each computed when it is asked for. The last one, and only the last one,
 * is {@link Event.Kind#END}, whatever happens: cancelled, closed or failed.
 */
public final class Answer implements Iterator<Event>, AutoCloseable {
    private static final int STREAM_BYTES = 1024; // BITX_STREAM_BYTES
    private static final Event.Kind[] KINDS = Event.Kind.values();
    private static final Event.End[] ENDS = Event.End.values();

    private final Session session;
    private final int[] out = new int[7];
    private final byte[] bytes = new byte[STREAM_BYTES];
    private volatile boolean ended;

    Answer(Session session) {
        this.session = session;
    }

    @Override
    public boolean hasNext() {
        return !ended;
    }

    /** Reads one chunk of what was given, or chooses one token. */
    @Override
    public synchronized Event next() {
        if (ended) {
            throw new NoSuchElementException("the answer has ended");
        }
        Event event = session.next(out, bytes);
        ended = event.kind == Event.Kind.END;
        return event;
    }

    @Override
    public void remove() {
        throw new UnsupportedOperationException();
    }

    /** Ends this answer before its next chunk or token, and no later one; from any thread. */
    public void cancel() {
        session.cancel(this);
    }

    /** Cancels what is not finished, so that the session can go on; waits for who reads. */
    @Override
    public void close() {
        cancel();
        synchronized (this) {
            while (!ended) {
                next();
            }
        }
    }

    /** The rest of the answer as one text. */
    public String text() {
        StringBuilder text = new StringBuilder();
        while (hasNext()) {
            text.append(next().text);
        }
        return text.toString();
    }

    static Event event(long session, int[] out, byte[] bytes) {
        int failure = Native.next(session, out, bytes);
        if (failure != Native.OK) { // it cannot be: the answer is under way
            throw BitexportException.of("the next event", failure);
        }
        Event.Kind kind = KINDS[out[0] - 1];
        Event.End end = kind == Event.Kind.END ? ENDS[out[1] - 1] : null;
        String status = end == Event.End.ERROR ? BitexportException.name(out[2]) : null;
        String text = out[6] == 0 ? "" : new String(bytes, 0, out[6], Native.UTF_8);
        return new Event(kind, end, status, out[3], out[4], out[5], text);
    }
}
