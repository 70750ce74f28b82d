// An asset pack of Google Play: data without code, at most 1.5 GB compressed.
plugins {
    id("com.android.asset-pack")
}

assetPack {
    packName.set("@PACK@")
    dynamicDelivery {
        deliveryType.set("on-demand")
    }
}
