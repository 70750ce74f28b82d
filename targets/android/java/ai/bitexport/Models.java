package ai.bitexport;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.io.RandomAccessFile;
import java.net.HttpURLConnection;
import java.net.URL;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Properties;
import java.util.Set;

/**
 * The model's files, as {@code bitexport package} listed them inside the library: which one suits
 * this device, and how it comes here whole. Every chunk of a file has to have its SHA-256; what
 * came before a connection broke is kept.
 */
public final class Models {
    /** Is told how many bytes are here. */
    public interface Progress {
        void at(long bytes, long of);
    }

    // From the root: who shrinks the app may move this class elsewhere, but not the list.
    private static final String LIST = "/ai/bitexport/models.properties";
    private static final int BUFFER_BYTES = 1 << 16;
    private static final int TIMEOUT_MS = 30000;

    private final Properties list = new Properties();
    private final int chunkBytes;
    private final int chosen;

    /** Reads the list, and chooses the file whose kernels this device's cores have. */
    public Models() throws IOException {
        try (InputStream stream = Models.class.getResourceAsStream(LIST)) {
            if (stream == null) {
                throw new IOException("the library was packaged without a list of models");
            }
            list.load(stream);
        }
        chunkBytes = Integer.parseInt(list.getProperty("chunk_bytes"));
        chosen = choose(instructionSets());
    }

    /** The instruction sets of this device for which there are kernels. */
    public static Set<String> instructionSets() {
        Set<String> names = new HashSet<>();
        int available = Native.instructionSets();
        for (int bit = 0; bit < 32; bit++) {
            if ((available & 1 << bit) != 0) {
                names.add(new String(Native.instructionSetName(1 << bit), Native.UTF_8));
            }
        }
        return names;
    }

    /** The file for a device: the most of its instruction sets, then the fewest that it lacks. */
    private int choose(Set<String> device) {
        int best = 0;
        int most = Integer.MIN_VALUE;
        for (int i = 0; i < Integer.parseInt(list.getProperty("models")); i++) {
            String[] isas = of(i, "isas").split(" ");
            Set<String> common = new HashSet<>(Arrays.asList(isas));
            common.retainAll(device);
            int score = 64 * common.size() - (isas.length - common.size());
            if (score > most) {
                most = score;
                best = i;
            }
        }
        return best;
    }

    private String of(int model, String what) {
        return list.getProperty(model + "." + what);
    }

    /** The name of this device's file. */
    public String name() {
        return of(chosen, "name");
    }

    public long bytes() {
        return Long.parseLong(of(chosen, "bytes"));
    }

    /** The file in a folder, or null where it is not, or not whole; reads none of its bytes. */
    public File find(File folder) {
        File file = new File(folder, name());
        return file.isFile() && file.length() == bytes() ? file : null;
    }

    /**
     * The file in a folder (on Android, {@code getNoBackupFilesDir()}), downloaded if it is not
     * there. Goes on where the last download ended; a thread that is interrupted stops, and keeps
     * what it has. Not on the main thread.
     *
     * @param address where the files lie that the package has in {@code packs/}, ending in a slash
     */
    public File download(URL address, File folder, Progress progress) throws IOException {
        File there = find(folder);
        if (there != null) {
            return there;
        }
        try (RandomAccessFile part = new RandomAccessFile(part(folder), "rw")) {
            long have = keepWholeChunks(part, progress);
            if (have < bytes()) {
                HttpURLConnection connection = connect(new URL(address, name()), have);
                try (InputStream stream = connection.getInputStream()) {
                    boolean resumed =
                            connection.getResponseCode() == HttpURLConnection.HTTP_PARTIAL;
                    append(stream, part, resumed ? have : 0, progress);
                } finally {
                    connection.disconnect();
                }
            }
            part.getFD().sync();
        }
        return finish(folder);
    }

    /** The file in a folder, copied from a stream (an asset of the app) if it is not there. */
    public File install(InputStream stream, File folder, Progress progress) throws IOException {
        File there = find(folder);
        if (there != null) {
            return there;
        }
        try (RandomAccessFile part = new RandomAccessFile(part(folder), "rw")) {
            append(stream, part, 0, progress);
            part.getFD().sync();
        }
        return finish(folder);
    }

    private File part(File folder) {
        return new File(folder, name() + ".part");
    }

    private File finish(File folder) throws IOException {
        File file = new File(folder, name());
        if (!part(folder).renameTo(file)) {
            throw new IOException(part(folder) + ": cannot be renamed to " + file);
        }
        return file;
    }

    private static HttpURLConnection connect(URL url, long from) throws IOException {
        HttpURLConnection connection = (HttpURLConnection) url.openConnection();
        connection.setConnectTimeout(TIMEOUT_MS);
        connection.setReadTimeout(TIMEOUT_MS);
        connection.setRequestProperty("Accept-Encoding", "identity");
        if (from > 0) {
            connection.setRequestProperty("Range", "bytes=" + from + "-");
        }
        int code = connection.getResponseCode();
        if (code != HttpURLConnection.HTTP_OK && code != HttpURLConnection.HTTP_PARTIAL) {
            connection.disconnect();
            throw new IOException(url + ": the server says " + code);
        }
        return connection;
    }

    /** Cuts a broken download behind its last good chunk; returns the bytes that are left. */
    private long keepWholeChunks(RandomAccessFile part, Progress progress) throws IOException {
        byte[] chunk = new byte[chunkBytes];
        String[] hashes = of(chosen, "chunks").split(" ");
        long good = 0;
        part.seek(0);
        for (String hash : hashes) {
            int size = (int) Math.min(chunkBytes, bytes() - good);
            if (part.length() < good + size) {
                break;
            }
            part.readFully(chunk, 0, size);
            if (!hash.equals(sha256(chunk, size))) {
                break;
            }
            good += size;
            progress.at(good, bytes());
        }
        part.setLength(good);
        return good;
    }

    /** Writes what a stream has behind the first `from` bytes of a file, a good chunk at a time. */
    private void append(InputStream stream, RandomAccessFile part, long from, Progress progress)
            throws IOException {
        byte[] chunk = new byte[chunkBytes];
        String[] hashes = of(chosen, "chunks").split(" ");
        part.setLength(from);
        part.seek(from);
        long at = from;
        while (at < bytes()) {
            int size = (int) Math.min(chunkBytes, bytes() - at);
            int filled = fill(stream, chunk, size, at);
            if (filled < size) {
                throw new IOException(
                        name() + ": the stream ended at byte " + (at + filled) + " of " + bytes());
            }
            int index = (int) (at / chunkBytes);
            if (!hashes[index].equals(sha256(chunk, size))) {
                part.setLength(at);
                throw new IOException(name() + ": chunk " + index + " is not as its hash");
            }
            part.seek(at);
            part.write(chunk, 0, size);
            at += size;
            progress.at(at, bytes());
        }
    }

    /** Fills a chunk; what a broken connection left of it is lost, and no more. */
    private int fill(InputStream stream, byte[] chunk, int size, long at) throws IOException {
        int filled = 0;
        while (filled < size) {
            if (Thread.currentThread().isInterrupted()) {
                throw new InterruptedIOException(name() + ": stopped at byte " + (at + filled));
            }
            int count = stream.read(chunk, filled, Math.min(BUFFER_BYTES, size - filled));
            if (count < 0) {
                break;
            }
            filled += count;
        }
        return filled;
    }

    private static String sha256(byte[] bytes, int count) {
        MessageDigest digest;
        try {
            digest = MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException impossible) { // every Java has it
            throw new AssertionError(impossible);
        }
        digest.update(bytes, 0, count);
        StringBuilder text = new StringBuilder();
        for (byte each : digest.digest()) {
            text.append(String.format("%02x", each));
        }
        return text.toString();
    }
}
