package ai.bitexport;

import java.io.File;
import java.util.LinkedHashSet;
import java.util.Set;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/**
 * A model, mapped into memory where its file lies; it never passes through the Java heap. Any
 * number of threads may use it at once.
 */
public final class BitexportModel implements AutoCloseable {
    private static final int SELF_TEST_FAILED = -15; // BITX_E_SELF_TEST

    private final String where;
    private final int[] facts = new int[5];
    private final String name;
    private final ReentrantReadWriteLock uses = new ReentrantReadWriteLock();
    private final Set<Session> sessions = new LinkedHashSet<>();
    private long handle;

    private BitexportModel(String where, long handle) {
        this.where = where;
        this.handle = handle;
        Native.facts(handle, facts);
        name = new String(Native.name(handle), Native.UTF_8);
    }

    /**
     * Opens a {@code model.bitx}. Costs the same for any size of weights; {@link #check} compares
     * every byte.
     */
    public static BitexportModel open(String path) {
        if (path.indexOf('\0') >= 0) {
            throw BitexportException.of("a path with a zero byte", Native.ARGUMENT);
        }
        return open((path + '\0').getBytes(Native.UTF_8), -1, path);
    }

    public static BitexportModel open(File file) {
        return open(file.getPath());
    }

    /**
     * Opens the whole file of a descriptor that was opened for reading, and which may be closed
     * afterwards. Not one of an asset: it begins inside its APK.
     */
    public static BitexportModel open(int descriptor) {
        return open(null, descriptor, "descriptor " + descriptor);
    }

    private static BitexportModel open(byte[] path, int descriptor, String where) {
        int[] out = new int[4];
        long handle = Native.openModel(path, descriptor, out);
        if (handle != 0) {
            return new BitexportModel(where, handle);
        }
        if (out[3] != 0) {
            throw new BitexportException(
                    where + ": cannot be mapped, errno " + out[3] + because(path, where),
                    out[3]);
        }
        throw BitexportException.of(where + broken(out[1], out[2]), out[0]);
    }

    private static String because(byte[] path, String where) {
        if (path == null) {
            return "";
        }
        File file = new File(where);
        if (!file.exists()) {
            return ": there is no such file";
        }
        return file.isFile() ? ": it is empty, or not readable" : ": it is no file";
    }

    private static String broken(int rule, int record) {
        return rule == 0 ? "" : ": breaks rule " + rule + " of the format, record " + record;
    }

    /** Compares every byte with the hashes in the file: once, after it was downloaded or copied. */
    public void check() {
        int[] out = new int[2];
        long at = use();
        try {
            int status = Native.checkModel(at, out);
            BitexportException.require(status, where + broken(out[0], out[1]));
        } finally {
            unuse();
        }
    }

    /** Computes the model's own test vectors on this device, and compares every op's bits. */
    public SelfTest selfTest() {
        return selfTest(1);
    }

    public SelfTest selfTest(int threads) {
        if (facts[4] == 0) {
            throw new BitexportException(
                    where + ": was built without a self-test", Native.ARGUMENT);
        }
        int[] out = new int[2];
        long at = use();
        try {
            int status = Native.selfTest(at, threads, out);
            if (status != SELF_TEST_FAILED) {
                BitexportException.require(status, where);
            }
            String differs =
                    out[1] == -1
                            ? null
                            : new String(Native.opOutputName(at, out[1]), Native.UTF_8);
            return new SelfTest(
                    status == Native.OK, out[0], differs, BitexportException.name(status));
        } finally {
            unuse();
        }
    }

    /** The tokens of a text that begins a sequence. */
    public int[] tokenize(String text) {
        int[] out = new int[2];
        long at = use();
        try {
            int[] tokens = Native.encode(at, text.getBytes(Native.UTF_8), 0, out);
            BitexportException.require(out[0], where);
            return tokens;
        } finally {
            unuse();
        }
    }

    public String name() {
        return name;
    }

    public int vocabulary() {
        return facts[0];
    }

    /** How many tokens a session holds at most. */
    public int context() {
        return facts[1];
    }

    public boolean hasTokenizer() {
        return facts[2] != 0;
    }

    public boolean hasChat() {
        return facts[3] != 0;
    }

    public boolean hasSelfTest() {
        return facts[4] != 0;
    }

    public Session newSession() {
        return newSession(new SessionOptions());
    }

    /** A session of this model, which ends with it at the latest. */
    public Session newSession(SessionOptions options) {
        int[] out = new int[1];
        long at = use();
        try {
            int context = options.context == 0 ? context() : options.context;
            long session =
                    Native.openSession(
                            at, context, options.chunk, options.threads, options.draft, out);
            if (session == 0) {
                throw BitexportException.of(where + ": a session of " + context + " tokens", out[0]);
            }
            Session opened = new Session(this, session);
            synchronized (sessions) {
                sessions.add(opened);
            }
            return opened;
        } finally {
            unuse();
        }
    }

    /** Closes the sessions, then the model; waits for calls that are under way. */
    @Override
    public void close() {
        for (; ; ) {
            Session open;
            synchronized (sessions) {
                open = sessions.isEmpty() ? null : sessions.iterator().next();
            }
            if (open != null) {
                open.close();
                continue;
            }
            uses.writeLock().lock();
            try {
                synchronized (sessions) {
                    if (!sessions.isEmpty()) {
                        continue; // made since
                    }
                }
                if (handle != 0) {
                    Native.closeModel(handle);
                    handle = 0;
                }
                return;
            } finally {
                uses.writeLock().unlock();
            }
        }
    }

    void forget(Session session) {
        synchronized (sessions) {
            sessions.remove(session);
        }
    }

    String where() {
        return where;
    }

    private long use() {
        uses.readLock().lock();
        if (handle == 0) {
            uses.readLock().unlock();
            throw new IllegalStateException(where + ": the model is closed");
        }
        return handle;
    }

    private void unuse() {
        uses.readLock().unlock();
    }
}
