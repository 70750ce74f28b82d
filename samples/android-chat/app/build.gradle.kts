plugins {
    id("com.android.application")
    id("org.jetbrains.kotlin.android")
}

// What `bitexport package --android -o package` wrote beside this folder.
val bitexport = rootProject.file("package")

android {
    namespace = "ai.bitexport.sample"
    compileSdk = 36

    defaultConfig {
        applicationId = "ai.bitexport.sample"
        minSdk = 21
        targetSdk = 36
        versionCode = 1
        versionName = "1.0"
    }

    buildTypes {
        release {
            isMinifyEnabled = true // the AAR brings its own rules
            proguardFiles(getDefaultProguardFile("proguard-android-optimize.txt"))
            signingConfig = signingConfigs.getByName("debug")
        }
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_1_8
        targetCompatibility = JavaVersion.VERSION_1_8
    }

    kotlinOptions {
        jvmTarget = "1.8"
    }

    // A small model travels as an asset; a large one as an asset pack, or by Models.download().
    bitexport.resolve("packs").listFiles().orEmpty().forEach {
        sourceSets["main"].assets.srcDir(it.resolve("src/main/assets"))
    }

    androidResources {
        noCompress += "bitx"
    }
}

// Flows: one file of Kotlin in the sources, compiled with the app's own coroutines.
val flows = layout.buildDirectory.dir("bitexport-flows")
val copyFlows = tasks.register<Copy>("copyBitexportFlows") {
    from(zipTree(bitexport.resolve("bitexport-sources.jar"))) { include("**/*.kt") }
    into(flows)
}
android.sourceSets["main"].kotlin.srcDir(flows)
tasks.named("preBuild") { dependsOn(copyFlows) }

dependencies {
    implementation(files(bitexport.resolve("bitexport.aar")))
    implementation("org.jetbrains.kotlinx:kotlinx-coroutines-core:1.9.0")
}
