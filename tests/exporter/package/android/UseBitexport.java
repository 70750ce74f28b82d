import ai.bitexport.Answer;
import ai.bitexport.BitexportException;
import ai.bitexport.BitexportModel;
import ai.bitexport.Event;
import ai.bitexport.Message;
import ai.bitexport.Models;
import ai.bitexport.Options;
import ai.bitexport.Session;
import ai.bitexport.SessionOptions;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.IOException;
import java.lang.reflect.Field;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** What an app does, in a JDK: `UseBitexport WHAT model.bitx FOLDER`; says what it saw. */
final class UseBitexport {
    static final String PROMPT = "Once upon a time";

    public static void main(String[] words) throws Exception {
        File file = new File(words[1]);
        File folder = new File(words[2]);
        switch (words[0]) {
            case "story": story(file); break;
            case "descriptor": descriptor(file); break;
            case "sampled": sampled(file); break;
            case "chat": chat(file); break;
            case "saved": saved(file, folder); break;
            case "ends": ends(file); break;
            case "cancel": cancel(file); break;
            case "close": close(file, 50); break;
            case "close-few": close(file, 10); break;
            case "threads": threads(file); break;
            case "hostile": hostile(file); break;
            case "refused": refused(file, folder); break;
            case "cycles": cycles(file); break;
            case "self-test": selfTest(file); break;
            case "download": download(words[1], folder); break;
            case "install": install(file, folder); break;
            case "choose": choose(); break;
            default: throw new IllegalArgumentException(words[0]);
        }
    }

    static Options greedy(int most) {
        return new Options().temperature(0).maxTokens(most);
    }

    static void say(Object what) {
        System.out.println(what);
    }

    static void sayStory(BitexportModel model) {
        try (Session session = model.newSession()) {
            Answer answer = session.generate(PROMPT, greedy(40));
            StringBuilder text = new StringBuilder();
            List<Integer> tokens = new ArrayList<>();
            while (answer.hasNext()) {
                Event event = answer.next();
                text.append(event.text);
                if (event.kind == Event.Kind.TEXT) {
                    tokens.add(event.token);
                }
                if (event.kind == Event.Kind.END) {
                    say(event.end);
                }
            }
            say(tokens);
            say(text.toString().replace("\n", "\\n"));
            say(Arrays.toString(session.tokens()));
        }
    }

    static void story(File file) {
        try (BitexportModel model = BitexportModel.open(file)) {
            model.check();
            say(model.name() + " " + model.vocabulary() + " " + model.context());
            say(Arrays.toString(model.tokenize(PROMPT)));
            sayStory(model);
        }
    }

    /** What Android's ParcelFileDescriptor.getFd() gives, a JDK only by reflection. */
    static void descriptor(File file) throws Exception {
        BitexportModel model;
        try (FileInputStream opened = new FileInputStream(file)) {
            Field number = FileDescriptor.class.getDeclaredField("fd");
            number.setAccessible(true);
            model = BitexportModel.open(number.getInt(opened.getFD()));
        }
        sayStory(model); // the descriptor is closed
        model.close();
    }

    static void sampled(File file) {
        Options options =
                new Options().temperature(0.875f).topK(40).topP(0.9375f).minP(0.015625f).repetition(1.125f)
                        .presence(0.125f).frequency(0.0625f).window(32).seed((5L << 32) + 7)
                        .maxTokens(40);
        try (BitexportModel model = BitexportModel.open(file);
                Session session = model.newSession(new SessionOptions().threads(3).context(128))) {
            session.generate(PROMPT, options).text();
            say(Arrays.toString(session.tokens()));
        }
    }

    static void chat(File file) {
        try (BitexportModel model = BitexportModel.open(file);
                Session session = model.newSession()) {
            Options options = greedy(12).stop("\n", " and");
            List<Message> begin =
                    Arrays.asList(Message.user("A dog."), Message.assistant("It ran."),
                            Message.user("Tom saw it."));
            say(session.chat(begin, options).text());
            say(session.chat("Then the sun came.", options).text());
            say(Arrays.toString(session.tokens()));
        }
    }

    static void saved(File file, File folder) throws IOException {
        File saved = new File(folder, "session");
        try (BitexportModel model = BitexportModel.open(file)) {
            try (Session session = model.newSession()) {
                session.generate(PROMPT, greedy(20)).text();
                session.save(saved);
            }
            try (Session session = model.newSession(new SessionOptions().context(100))) {
                session.restore(saved);
                session.generate(" The", greedy(10)).text();
                say(Arrays.toString(session.tokens()));
                byte[] bytes = Files.readAllBytes(saved.toPath());
                bytes[bytes.length / 2] ^= 1;
                Files.write(saved.toPath(), bytes);
                try {
                    session.restore(saved);
                    say("restored");
                } catch (BitexportException refused) {
                    say(refused.code);
                }
                say(Arrays.toString(session.tokens()));
            }
        }
    }

    /** Reads an answer to its end and says how many END events came, and that none follows. */
    static void sayEnd(Answer answer) {
        int ends = 0;
        Event last = null;
        while (answer.hasNext()) {
            last = answer.next();
            ends += last.kind == Event.Kind.END ? 1 : 0;
        }
        say(ends + " " + last);
    }

    static void ends(File file) {
        try (BitexportModel model = BitexportModel.open(file)) {
            try (Session session = model.newSession(new SessionOptions().context(24))) {
                sayEnd(session.generate(PROMPT, greedy(3)));
                session.reset();
                sayEnd(session.generate(PROMPT, greedy(90).stop(" time", "re was")));
                session.reset();
                sayEnd(session.generate(PROMPT, new Options().temperature(0)));
                session.reset();
                sayEnd(session.generate(PROMPT, greedy(50).shift(2)));
                session.reset();
                sayEnd(session.generate(PROMPT, greedy(50).stopTokens(432)));
            }
        }
    }

    static void cancel(File file) throws InterruptedException {
        try (BitexportModel model = BitexportModel.open(file);
                Session session = model.newSession()) {
            Answer answer = session.generate(PROMPT, new Options().temperature(0).ignoreEnds(true));
            for (int i = 0; i < 6; i++) {
                answer.next();
            }
            int held = session.tokens().length;
            Thread other = new Thread(answer::cancel);
            other.start();
            other.join();
            sayEnd(answer);
            say(session.tokens().length - held);
            session.reset();
            try (Answer dropped = session.generate(PROMPT, new Options())) {
                dropped.next();
                try {
                    session.generate("more");
                    say("two answers");
                } catch (IllegalStateException refused) {
                    say(refused.getMessage());
                }
            }
            session.reset();
            say(session.generate(PROMPT, greedy(10)).text());
        }
    }

    /** Sessions and model are closed by another thread while an answer is computed. */
    static void close(File file, int rounds) throws InterruptedException {
        for (int round = 0; round < rounds; round++) {
            BitexportModel model = BitexportModel.open(file);
            Session session = model.newSession(new SessionOptions().threads(1 + round % 2));
            CountDownLatch begun = new CountDownLatch(1);
            List<String> seen = Collections.synchronizedList(new ArrayList<>());
            Thread reader =
                    new Thread(
                            () -> {
                                Options endless =
                                        new Options().temperature(0).ignoreEnds(true).shift(4);
                                Answer answer = session.generate(PROMPT, endless);
                                while (answer.hasNext()) {
                                    Event event = answer.next();
                                    begun.countDown();
                                    if (event.kind == Event.Kind.END) {
                                        seen.add(event.toString());
                                    }
                                }
                            });
            reader.start();
            begun.await();
            if (round % 5 == 0) {
                TimeUnit.MILLISECONDS.sleep(3);
            }
            if (round % 3 == 0) {
                session.close();
            }
            model.close();
            model.close();
            reader.join();
            if (!seen.equals(Arrays.asList("END CANCELLED"))) {
                throw new AssertionError(seen);
            }
            try {
                session.tokens();
                throw new AssertionError("a closed session has tokens");
            } catch (IllegalStateException closed) {
                session.cancel(); // allowed, and nothing
            }
        }
        say(rounds + " rounds");
    }

    static void threads(File file) throws InterruptedException {
        try (BitexportModel model = BitexportModel.open(file)) {
            Thread[] threads = new Thread[2];
            String[] texts = new String[2];
            for (int i = 0; i < 2; i++) {
                final int me = i;
                threads[i] =
                        new Thread(
                                () -> {
                                    SessionOptions two = new SessionOptions().threads(2);
                                    try (Session session = model.newSession(two)) {
                                        session.generate(me == 0 ? PROMPT : "Tom", greedy(40)).text();
                                        texts[me] = Arrays.toString(session.tokens());
                                    }
                                });
                threads[i].start();
            }
            for (Thread thread : threads) {
                thread.join();
            }
            say(texts[0]);
            say(texts[1]);
        }
    }

    interface Deed {
        void dare() throws Exception;
    }

    static void sayRefusal(Deed deed) throws Exception {
        try {
            deed.dare();
            say("not refused");
        } catch (RuntimeException refused) {
            say(refused.getMessage());
        }
    }

    /** Who closes twice, goes on after that, asks from two threads, throws, or cancels too late. */
    static void hostile(File file) throws Exception {
        BitexportModel model = BitexportModel.open(file);
        Session session = model.newSession();
        Answer cancelledLate = session.generate(PROMPT, greedy(2));
        cancelledLate.text();
        session.reset();
        Answer answer = session.generate(PROMPT, greedy(10));
        answer.next();
        cancelledLate.cancel();
        cancelledLate.close();
        say(answer.text());

        session.reset();
        try (Answer thrown = session.generate(PROMPT, greedy(10))) {
            throw new IllegalStateException("the screen is gone after " + thrown.next());
        } catch (IllegalStateException gone) {
            say(gone.getMessage());
        }
        session.reset();
        sayContest(session);
        session.reset();
        sayShared(session);

        Answer left = session.generate(PROMPT, greedy(10));
        session.close();
        session.close();
        say(left.next());
        left.close();
        left.cancel();
        sayRefusal(() -> session.generate(PROMPT));
        sayRefusal(() -> session.chat("Hello.", new Options()));
        sayRefusal(session::reset);
        sayRefusal(() -> session.save(new File("never")));
        model.close();
        model.close();
        sayRefusal(model::newSession);
        sayRefusal(model::selfTest);
        sayRefusal(model::check);
        sayRefusal(() -> model.tokenize("a"));
        say(model.name() + " " + model.context());
    }

    /** Two threads begin an answer at once: one of them gets it. */
    static void sayContest(Session session) throws InterruptedException {
        CountDownLatch begin = new CountDownLatch(1);
        List<Answer> begun = Collections.synchronizedList(new ArrayList<>());
        List<String> refused = Collections.synchronizedList(new ArrayList<>());
        Runnable contender =
                () -> {
                    try {
                        begin.await();
                        begun.add(session.generate(PROMPT, greedy(10)));
                    } catch (IllegalStateException | InterruptedException second) {
                        refused.add(second.getMessage());
                    }
                };
        Thread[] threads = {new Thread(contender), new Thread(contender)};
        for (Thread thread : threads) {
            thread.start();
        }
        begin.countDown();
        for (Thread thread : threads) {
            thread.join();
        }
        say(begun.size() + " " + refused);
        say(begun.get(0).text());
    }

    /** Two threads read one answer: each event comes to one of them. */
    static void sayShared(Session session) throws InterruptedException {
        Answer answer = session.generate(PROMPT, greedy(40));
        List<Event> seen = Collections.synchronizedList(new ArrayList<>());
        Runnable reader =
                () -> {
                    try {
                        while (answer.hasNext()) {
                            seen.add(answer.next());
                        }
                    } catch (NoSuchElementException other) { // had the last one
                        return;
                    }
                };
        Thread[] threads = {new Thread(reader), new Thread(reader)};
        for (Thread thread : threads) {
            thread.start();
        }
        for (Thread thread : threads) {
            thread.join();
        }
        say(seen.size() + " " + seen.stream().filter(e -> e.kind == Event.Kind.END).count());
    }

    static void refused(File file, File folder) throws Exception {
        byte[] bytes = Files.readAllBytes(file.toPath());
        File wrong = new File(folder, "wrong");
        Files.write(wrong.toPath(), "no model at all, only some words".getBytes());
        sayRefusal(() -> BitexportModel.open(wrong));
        Files.write(wrong.toPath(), Arrays.copyOf(bytes, bytes.length - 1));
        sayRefusal(() -> BitexportModel.open(wrong));
        Files.write(wrong.toPath(), new byte[0]);
        sayRefusal(() -> BitexportModel.open(wrong));
        sayRefusal(() -> BitexportModel.open(folder));
        sayRefusal(() -> BitexportModel.open(new File(folder, "nobody")));
        sayRefusal(() -> BitexportModel.open(-1));
        sayRefusal(() -> BitexportModel.open("a\0b"));
        byte[] damaged = bytes.clone();
        damaged[bytes.length / 2] ^= 1;
        Files.write(wrong.toPath(), damaged);
        sayRefusal(
                () -> {
                    try (BitexportModel model = BitexportModel.open(wrong)) {
                        model.check();
                    }
                });
        try (BitexportModel model = BitexportModel.open(file)) {
            sayRefusal(() -> model.newSession(new SessionOptions().context(1 << 30)));
            sayRefusal(() -> model.newSession(new SessionOptions().threads(10000)));
            try (Session session = model.newSession(new SessionOptions().context(8))) {
                sayRefusal(() -> session.generate(PROMPT + PROMPT + PROMPT));
                sayRefusal(() -> session.generate(new int[] {1, -5}, new Options()));
                sayRefusal(() -> session.generate(PROMPT, new Options().topP(2)));
                sayRefusal(() -> new Options().stop(""));
                sayRefusal(() -> new SessionOptions().draft(9));
                sayRefusal(() -> session.generate((int[]) null, new Options()));
                sayRefusal(() -> session.generate(PROMPT, null));
                say(session.tokens().length);
            }
        }
    }

    static long resident() throws IOException {
        String[] words = new String(Files.readAllBytes(Paths.get("/proc/self/statm"))).split(" ");
        return Long.parseLong(words[1]) * 4096;
    }

    static int maps() throws IOException {
        int count = 0;
        for (String line : Files.readAllLines(Paths.get("/proc/self/maps"))) {
            count += line.endsWith(".bitx") ? 1 : 0;
        }
        return count;
    }

    static void cycle(File file, int times) throws IOException {
        for (int i = 0; i < times; i++) {
            try (BitexportModel model = BitexportModel.open(file);
                    Session session = model.newSession(new SessionOptions().threads(1 + i % 2))) {
                session.generate(PROMPT, greedy(1)).text();
            }
        }
    }

    static void cycles(File file) throws IOException {
        cycle(file, 200);
        System.gc();
        long before = resident();
        int files = new File("/proc/self/fd").list().length;
        cycle(file, 1000);
        System.gc();
        say(resident() - before);
        say(new File("/proc/self/fd").list().length - files);
        say(maps());
        say(Thread.activeCount());
    }

    static void selfTest(File file) {
        try (BitexportModel model = BitexportModel.open(file)) {
            say(model.selfTest());
            say(model.selfTest(2));
        }
    }

    static void choose() throws IOException {
        say(new Models().name());
        say(new TreeSet<>(Models.instructionSets()));
    }

    static void sayFetched(File file) {
        try (BitexportModel model = BitexportModel.open(file)) {
            model.check();
            say("whole");
        }
    }

    static void download(String address, File folder) throws IOException {
        Models models = new Models();
        try {
            sayFetched(models.download(new URL(address), folder, (bytes, of) -> {}));
        } catch (IOException failed) {
            say(failed.getMessage());
            say(models.find(folder) == null);
        }
    }

    static void install(File file, File folder) throws IOException {
        Models models = new Models();
        List<Long> seen = new ArrayList<>();
        try (FileInputStream stream = new FileInputStream(file)) {
            sayFetched(models.install(stream, folder, (bytes, of) -> seen.add(bytes)));
        }
        say(seen.get(seen.size() - 1) == models.bytes());
        Thread.currentThread().interrupt();
        try (FileInputStream stream = new FileInputStream(file)) {
            models.install(stream, Files.createTempDirectory("none").toFile(), (bytes, of) -> {});
            say("not stopped");
        } catch (IOException stopped) {
            say(stopped.getMessage());
        }
    }
}
