package ai.bitexport;

/** What somebody says. */
public final class Message {
    /** Who says it; in the order of bitx_role. */
    public enum Role {
        SYSTEM,
        USER,
        ASSISTANT
    }

    public final Role role;
    public final String content;

    public Message(Role role, String content) {
        this.role = role;
        this.content = content;
    }

    public static Message system(String content) {
        return new Message(Role.SYSTEM, content);
    }

    public static Message user(String content) {
        return new Message(Role.USER, content);
    }

    public static Message assistant(String content) {
        return new Message(Role.ASSISTANT, content);
    }
}
