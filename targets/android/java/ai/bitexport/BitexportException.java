package ai.bitexport;

/** What the runtime refused, and why. */
public final class BitexportException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** The number of a {@code bitx_status}; of a file that cannot be mapped, that of errno. */
    public final int code;

    BitexportException(String message, int code) {
        super(message);
        this.code = code;
    }

    static BitexportException of(String what, int status) {
        return new BitexportException(what + ": " + name(status), status);
    }

    static void require(int status, String what) {
        if (status != Native.OK) {
            throw of(what, status);
        }
    }

    /** What the runtime calls a status. */
    static String name(int status) {
        return new String(Native.statusName(status), Native.UTF_8);
    }
}
