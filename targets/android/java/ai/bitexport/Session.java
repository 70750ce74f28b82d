package ai.bitexport;

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.locks.ReentrantLock;

/**
 * A model in the middle of a sequence. One thread at a time; only {@link #cancel} and {@link
 * #close} may come from any other, at any time.
 */
public final class Session implements AutoCloseable {
    private static final int START = 3; // BITX_ROLE_START

    private final BitexportModel model;
    private final ReentrantLock calls = new ReentrantLock();
    private final Object alive = new Object();
    private long handle;
    private Answer answering; // changed with both locks held

    Session(BitexportModel model, long handle) {
        this.model = model;
        this.handle = handle;
    }

    /** An answer that continues a text. */
    public Answer generate(String text, Options options) {
        return answer(options, true, () -> giveText(text));
    }

    public Answer generate(String text) {
        return generate(text, new Options());
    }

    /** An answer that continues tokens. */
    public Answer generate(int[] tokens, Options options) {
        int count = Objects.requireNonNull(tokens, "tokens").length; // JNI crashes on null
        return answer(
                options, true, () -> given(Native.giveTokens(handle, tokens), count + " tokens"));
    }

    /** An answer to what a user says; the conversation goes on where the last answer ended. */
    public Answer chat(String text, Options options) {
        return chat(Arrays.asList(Message.user(text)), options);
    }

    /** An answer to messages: a conversation so far, or what is new in one that goes on. */
    public Answer chat(List<Message> messages, Options options) {
        return answer(options, false, () -> giveChat(messages));
    }

    /** Ends the answer under way before its next chunk or token; its END event comes all the same. */
    public void cancel() {
        synchronized (alive) {
            if (handle != 0) {
                Native.cancel(handle);
            }
        }
    }

    /** The same, if it is this answer that is under way. */
    void cancel(Answer answer) {
        synchronized (alive) {
            if (handle != 0 && answering == answer) {
                Native.cancel(handle);
            }
        }
    }

    /** Every token so far: given, read or chosen. */
    public int[] tokens() {
        calls.lock();
        try {
            return Native.tokens(open());
        } finally {
            calls.unlock();
        }
    }

    /** Forgets every token. */
    public void reset() {
        calls.lock();
        try {
            refuseWhileAnswering();
            Native.reset(open());
        } finally {
            calls.unlock();
        }
    }

    /** Writes the session to a file, whole or not at all, through a map of it. */
    public void save(File file) throws IOException {
        calls.lock();
        try {
            refuseWhileAnswering();
            long size = Native.saveSize(open());
            if (size <= 0) {
                throw new BitexportException(
                        model.where() + ": was built before sessions could be saved",
                        Native.ARGUMENT);
            }
            File part = new File(file.getPath() + ".part");
            try {
                BitexportException.require(saveTo(part, size), file.getPath());
                if (!part.renameTo(file)) {
                    throw new IOException(file + ": cannot be replaced");
                }
            } finally {
                part.delete();
            }
        } finally {
            calls.unlock();
        }
    }

    private int saveTo(File file, long size) throws IOException {
        try (RandomAccessFile opened = new RandomAccessFile(file, "rw")) {
            // A full disk must be found here: in a map it ends the process.
            byte[] zeros = new byte[(int) Math.min(size, 1 << 16)];
            opened.setLength(0);
            for (long left = size; left > 0; left -= zeros.length) {
                opened.write(zeros, 0, (int) Math.min(left, zeros.length));
            }
            MappedByteBuffer map =
                    opened.getChannel().map(FileChannel.MapMode.READ_WRITE, 0, size);
            int status = Native.save(handle, map);
            map.force();
            return status;
        }
    }

    /**
     * Continues a saved session, of any device and layout. One that is damaged or of another model
     * changes nothing.
     */
    public void restore(File file) throws IOException {
        calls.lock();
        try {
            refuseWhileAnswering();
            open();
            int status;
            try (RandomAccessFile opened = new RandomAccessFile(file, "r")) {
                ByteBuffer map =
                        opened.getChannel().map(FileChannel.MapMode.READ_ONLY, 0, opened.length());
                status = Native.restore(handle, map);
            }
            BitexportException.require(status, file.getPath());
        } finally {
            calls.unlock();
        }
    }

    /** Ends an answer under way, waits for the call that computes it, and gives all memory back. */
    @Override
    public void close() {
        cancel();
        calls.lock();
        try {
            synchronized (alive) {
                if (handle != 0) {
                    Native.closeSession(handle);
                    handle = 0;
                }
            }
        } finally {
            calls.unlock();
        }
        model.forget(this);
    }

    // ---- Answers ----------------------------------------------------------------------------

    private Answer answer(Options options, boolean continues, Runnable give) {
        Objects.requireNonNull(options, "options"); // before anything is given
        calls.lock();
        try {
            refuseWhileAnswering();
            open();
            give.run();
            BitexportException.require(
                    options.start(handle, continues), model.where() + ": options of an answer");
            return now(new Answer(this));
        } finally {
            calls.unlock();
        }
    }

    /** The next event of an answer; of a session that was closed, that it was cancelled. */
    Event next(int[] out, byte[] text) {
        calls.lock();
        try {
            Event event = handle == 0 ? Event.cancelled() : Answer.event(handle, out, text);
            if (event.kind == Event.Kind.END) {
                now(null);
            }
            return event;
        } finally {
            calls.unlock();
        }
    }

    private Answer now(Answer answer) {
        synchronized (alive) {
            answering = answer;
        }
        return answer;
    }

    private void giveText(String text) {
        int[] out = new int[1];
        int flags = Native.tokens(handle).length > 0 ? Native.BARE : 0;
        int status = Native.giveText(handle, text.getBytes(Native.UTF_8), flags, out);
        given(status, "a text of " + text.length() + " characters");
    }

    private void giveChat(List<Message> messages) {
        int[] rolesAndBytes = new int[2 * messages.size()];
        ByteArrayOutputStream contents = new ByteArrayOutputStream();
        for (int i = 0; i < messages.size(); i++) {
            byte[] content = messages.get(i).content.getBytes(Native.UTF_8);
            rolesAndBytes[2 * i] = messages.get(i).role.ordinal();
            rolesAndBytes[2 * i + 1] = content.length;
            contents.write(content, 0, content.length);
        }
        int after = Native.tokens(handle).length > 0 ? Message.Role.ASSISTANT.ordinal() : START;
        int[] out = new int[1];
        int status = Native.giveChat(handle, rolesAndBytes, contents.toByteArray(), after, out);
        given(status, messages.size() + " messages");
    }

    private void given(int status, String what) {
        BitexportException.require(status, model.where() + ": " + what);
    }

    private long open() {
        if (handle == 0) {
            throw new IllegalStateException("the session is closed");
        }
        return handle;
    }

    private void refuseWhileAnswering() {
        if (answering != null && handle != 0) {
            throw new IllegalStateException(
                    "an answer is under way: read it to its END event, or close it");
        }
    }
}
