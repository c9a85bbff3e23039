"""Where does the pretrained model come from?"""
